"""The receipt of a bundle: what it takes, gives, and how far it was proven to be the policy it came from."""

from jetvla.services.receipt.facts import receipt_of

__all__ = ["receipt_of"]
