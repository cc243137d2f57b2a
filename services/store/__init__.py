"""The device's bundles: installed whole or not at all, tried, then kept or rolled back."""
