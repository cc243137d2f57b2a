"""Trees of files as the kernel of a Jetson or of an x86 machine shows them.

Names and units are from Linux's Documentation (driver-api/thermal/sysfs-api.rst, hwmon/ina3221.rst, hwmon/ina238.rst,
power/powercap/powercap.rst, ABI/testing/sysfs-class-devfreq) and, for Jetson Linux, from the chapter "Platform Power
and Performance" of NVIDIA's developer guide and its driver of soctherm_oc. Values are made up.
"""

from __future__ import annotations

from pathlib import Path

import pytest

ORIN = {
    "class/hwmon/hwmon0/name": "pwmfan",
    "class/hwmon/hwmon1/name": "ina3221",
    "class/hwmon/hwmon1/in1_label": "VDD_IN",
    "class/hwmon/hwmon1/in1_input": "5000",
    "class/hwmon/hwmon1/curr1_input": "1200",
    "class/hwmon/hwmon1/in2_label": "VDD_CPU_GPU_CV",
    "class/hwmon/hwmon1/in2_input": "5000",
    "class/hwmon/hwmon1/curr2_input": "300",
    "class/hwmon/hwmon1/in3_label": "NC",
    "class/hwmon/hwmon1/in3_input": "5000",
    "class/hwmon/hwmon1/curr3_input": "100",
    "class/hwmon/hwmon1/in4_input": "6000",
    "class/hwmon/hwmon1/in7_label": "sum of shunt voltages",
    "class/hwmon/hwmon1/in7_input": "7500",
    "class/hwmon/hwmon1/curr4_input": "1500",
    "class/hwmon/hwmon3/name": "soctherm_oc",
    "class/hwmon/hwmon3/oc1_event_cnt": "0",
    "class/hwmon/hwmon3/oc3_event_cnt": "27",
    "class/hwmon/hwmon3/oc3_throt_en": "1",
    "class/thermal/thermal_zone0/type": "cpu-thermal",
    "class/thermal/thermal_zone0/temp": "51718",
    "class/thermal/thermal_zone0/trip_point_0_temp": "99000",
    "class/thermal/thermal_zone0/trip_point_2_temp": "70000",
    "class/thermal/thermal_zone0/cdev0_trip_point": "0",
    "class/thermal/thermal_zone0/cdev1_trip_point": "2",
    "class/thermal/thermal_zone1/type": "cv0-thermal",
    "class/thermal/thermal_zone1/temp": "-256000",
    "class/thermal/thermal_zone10/type": "tj-thermal",
    "class/thermal/thermal_zone10/temp": "52000",
    "class/thermal/cooling_device0/type": "cpu-throttle-alert",
    "class/thermal/cooling_device0/cur_state": "0",
    "class/thermal/cooling_device1/type": "hot-surface-alert",
    "class/thermal/cooling_device1/cur_state": "1",
    "class/thermal/cooling_device2/type": "pwm-fan",
    "class/thermal/cooling_device2/cur_state": "3",
    "class/thermal/cooling_device10/type": "devfreq-17000000.gpu",
    "class/thermal/cooling_device10/cur_state": "0",
    "class/devfreq/17000000.gpu/cur_freq": "612000000",
    "class/devfreq/17000000.gpu/min_freq": "306000000",
    "class/devfreq/17000000.gpu/max_freq": "1020000000",
    "class/devfreq/17000000.gpu/governor": "nvhost_podgov",
    "class/devfreq/17000000.gpu/device/load": "873",
    "devices/system/cpu/cpu0/cpufreq/scaling_cur_freq": "729600",
    "devices/system/cpu/cpu0/cpufreq/scaling_min_freq": "729600",
    "devices/system/cpu/cpu0/cpufreq/scaling_max_freq": "1728000",
    "devices/system/cpu/cpu0/cpufreq/scaling_governor": "schedutil",
    "devices/system/cpu/cpu1/cpufreq/scaling_cur_freq": "1728000",
    "devices/system/cpu/cpu1/cpufreq/scaling_min_freq": "729600",
    "devices/system/cpu/cpu1/cpufreq/scaling_max_freq": "1728000",
    "devices/system/cpu/cpu1/cpufreq/scaling_governor": "schedutil",
}
THOR = {
    "class/hwmon/hwmon2/name": "ina238",
    "class/hwmon/hwmon2/power1_input": "15004000",
    "class/hwmon/hwmon4/name": "ina3221",
    "class/hwmon/hwmon4/in1_label": "VDD_GPU",
    "class/hwmon/hwmon4/in1_input": "12040",
    "class/hwmon/hwmon4/curr1_input": "-32",
    "class/thermal/thermal_zone0/type": "tj-thermal",
    "class/thermal/thermal_zone0/temp": "41843",
    "class/thermal/cooling_device9/type": "gpu-throttle-alert",
    "class/thermal/cooling_device9/cur_state": "1",
    "class/devfreq/gpu-gpc-0/cur_freq": "1575000000",
    "class/devfreq/gpu-nvd-0/cur_freq": "1692000000",
}
XEON = {
    "class/powercap/intel-rapl/enabled": "1",
    "class/powercap/intel-rapl:0/name": "package-0",
    "class/powercap/intel-rapl:0/energy_uj": "1000000",
    "class/powercap/intel-rapl:0/max_energy_range_uj": "262143328850",
    "class/powercap/intel-rapl:0:0/name": "core",
    "class/powercap/intel-rapl:0:0/energy_uj": "400000",
    "class/thermal/thermal_zone0/type": "x86_pkg_temp",
    "class/thermal/thermal_zone0/temp": "48000",
    "devices/system/cpu/cpu0/thermal_throttle/core_throttle_count": "3",
    "devices/system/cpu/cpu1/thermal_throttle/core_throttle_count": "4",
}
PROC = {
    "meminfo": "MemTotal:        7802880 kB\nMemFree:          204800 kB\nMemAvailable:    3706880 kB",
    "stat": "cpu  200 0 0 200 0 0 0 0 0 0\ncpu0 100 0 0 100 0 0 0 0 0 0\ncpu1 100 0 0 100 0 0 0 0 0 0\nintr 1",
}


def lay(root: Path, files: dict[str, str], folder: str = "sys") -> Path:
    for name, said in files.items():
        path = root / folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{said}\n")
    return root


@pytest.fixture
def orin(tmp_path: Path) -> Path:
    """Root of an Orin NX whose zone 0 is bound to a throttling device, and to one that only warns."""
    root = lay(lay(tmp_path / "orin", ORIN), PROC, "proc")
    thermal = root / "sys/class/thermal"
    for name, device in (("cdev0", "cooling_device0"), ("cdev1", "cooling_device1")):
        (thermal / "thermal_zone0" / name).symlink_to(f"../{device}")
    return root


@pytest.fixture
def thor(tmp_path: Path) -> Path:
    """Root of a Thor whose GPU is too hot."""
    return lay(lay(tmp_path / "thor", THOR), PROC, "proc")


@pytest.fixture
def xeon(tmp_path: Path) -> Path:
    """Root of an x86 server."""
    return lay(lay(tmp_path / "xeon", XEON), PROC, "proc")
