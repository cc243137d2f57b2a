"""What NVIDIA's tool prints when a flash goes wrong, and what to do about it."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Symptom:
    """``pattern`` is looked for in the output; ``remedy`` says what it means and what to do."""

    name: str
    pattern: str
    remedy: str


# In the order of a flash. All of them were reported by users, none was seen by us.
SYMPTOMS = (
    Symptom(
        "arm-host",
        r"cannot execute binary file|Exec format error|qemu-x86_64: Could not open",
        "NVIDIA's flashing programs do not run on this processor: flash from an x86-64 PC",
    ),
    Symptom(
        "usb-write",
        r"might be timeout in USB write",
        "the Jetson did not take what was sent to it in recovery mode, most often since an earlier try left it "
        "half-way: take its power away, enter recovery mode again (a reset is not enough), use a port of the mainboard "
        "and a short cable without a hub, and switch USB autosuspend off: "
        "echo -1 | sudo tee /sys/module/usbcore/parameters/autosuspend",
    ),
    Symptom(
        "no-target",
        r"probing the target board failed|No Board Spec|Reading board information failed|No devices to flash",
        "the Jetson is not in recovery mode any more: take its power away and enter recovery mode again",
    ),
    Symptom(
        "gadget-renamed",
        r"Cannot find device \"?usb\d|cannot stat /proc/sys/net/ipv6/conf/usb\d",
        "udev renamed the Jetson's USB network interface (usb0 to enx...) while it was being set up. Keep its name "
        "during the flash: sudo ln -s /dev/null /etc/systemd/network/73-usb-net-by-mac.link && "
        "sudo udevadm control --reload, then try again, and remove the link afterwards",
    ),
    Symptom(
        "rcm-boot",
        r"Device ping failed after RCM boot|Waiting for target to boot-up[.]*\s+(\S+ - Error: )?Timeout",
        "the Jetson took the flashing system and did not appear with it on USB (RCM boot time-out): take its power "
        "away and enter recovery mode again, use another cable and a USB port of the mainboard, use no virtual "
        "machine, and see that IPv6 is on (sysctl net.ipv6.conf.all.disable_ipv6 must be 0)",
    ),
    Symptom(
        "ssh",
        r"Waiting for device to expose ssh[ .]*Timeout",
        "the Jetson runs the flashing system and cannot be reached on its USB network: stop the firewall or let "
        "fc00::/7 and NFS in (sudo ufw disable), and keep NetworkManager away from the interface",
    ),
    Symptom(
        "automounter",
        r"partprobe failed|No medium found|is (already )?mounted|Device or resource busy",
        "this machine mounted the Jetson's storage, or took another disk for it: stop the automounter (sudo systemctl "
        "stop udisks2.service) and unplug card readers and USB disks",
    ),
)


def explain(lines: Iterable[str]) -> list[str]:
    """The remedies for what stands in the output, each once, in the order of a flash."""
    text = "\n".join(lines)
    return [symptom.remedy for symptom in SYMPTOMS if re.search(symptom.pattern, text)]
