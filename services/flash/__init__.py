"""From a boxed Jetson to one that boots with jetvla: customise NVIDIA's sample root file system, then flash it.

``boards`` and ``release`` are the facts, ``preflight`` what must hold before anything is touched, ``root`` the root
file system and its untouched original, ``customise`` what is put into it, ``initrd`` NVIDIA's own tool, and
``symptoms`` what its output means.
"""
