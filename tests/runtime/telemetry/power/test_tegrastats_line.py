"""Lines that tegrastats wrote on real boards, found in public places; each in ``LINES`` names where."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jetvla.runtime.telemetry.power.rail import Rail
from jetvla.runtime.telemetry.power.reading import Activity, Memory, Reading
from jetvla.runtime.telemetry.power.tegrastats_line import parse_line

LINES = {
    # Orin Nano; github.com/rbonghi/jetson_stats, issue 624.
    "Orin Nano": (
        "05-15-2025 18:30:28 RAM 6982/7620MB (lfb 5x1MB) SWAP 2640/16384MB (cached 202MB) CPU [97%@1984,95%@1984,"
        "95%@1984,91%@1984,88%@1984,93%@247] EMC_FREQ 18%@3199 GR3D_FREQ 84%@[713] NVENC 1%@115 NVDEC 40%@115 "
        "NVJPG off NVJPG1 off VIC 31%@115 OFA off NVDLA0 off PVA0_FREQ off APE 174 cv0@63.031C cpu@65.562C "
        "soc2@64.156C soc0@63.031C cv1@62.937C gpu@63.5C tj@65.562C soc1@64.718C cv2@60.875C VDD_IN 17946mW/15710mW "
        "VDD_CPU_GPU_CV 8896mW/7585mW VDD_SOC 3923mW/3515mW"
    ),
    # AGX Orin; github.com/GDWR/jetson_exporter, issue 14.
    "AGX Orin, parts asleep": (
        "04-11-2025 10:36:27 RAM 4321/62801MB (lfb 1759x4MB) SWAP 19/31400MB (cached 0MB) CPU [0%@729,0%@729,0%@729,"
        "0%@729,0%@729,0%@729,0%@729,0%@729,0%@729,0%@729,0%@729,0%@729] EMC_FREQ 0%@2133 GR3D_FREQ 0%@[0,0] "
        "VIC_FREQ 729 APE 174 CV0@-256C CPU@44.562C Tboard@32C SOC2@40.093C Tdiode@33C SOC0@41.093C CV1@-256C "
        "GPU@-256C tj@44.343C SOC1@41.25C CV2@-256C VDD_GPU_SOC 2340mW/2340mW VDD_CPU_CV 390mW/390mW VIN_SYS_5V0 "
        "4025mW/4025mW NC 0mW/0mW VDDQ_VDD2_1V8AO 301mW/301mW NC 0mW/0mW"
    ),
    # AGX Orin, Jetson Linux R39.2, a power mode with 8 cores; github.com/lesomnus/tegra-exporter, stats/parse_test.go.
    "AGX Orin, cores off": (
        "07-31-2026 14:58:05 RAM 4714/62878MB (lfb 7x4MB) SWAP 0/2048MB (cached 0MB) CPU [78%@1728,33%@1728,46%@1728,"
        "55%@1728,49%@729,48%@729,37%@729,57%@729,off,off,off,off] EMC_FREQ 2%@2133 GR3D_FREQ 0%@[0,0] NVENC0 off "
        "NVDEC0 off NVJPG0 off NVJPG1 off VIC off OFA off NVDLA0 off NVDLA1 off PVA0_FREQ off APE 174 "
        "cpu@50.718C/50.718C soc2@47.656C/47.656C soc0@47.156C/47.156C tj@50.718C/50.718C soc1@49C/49C VDD_GPU_SOC "
        "2265mW/2265mW/2265mW VDD_CPU_CV 2643mW/2643mW/2643mW VIN_SYS_5V0 4722mW/4722mW/4722mW"
    ),
    # Thor, Jetson Linux R38.4; the same file of tegra-exporter.
    "Thor R38": (
        "05-17-2026 10:00:34 RAM 4309/125773MB (lfb 23x4MB) SWAP 0/2048MB (cached 0MB) CPU [9%@972,2%@972,1%@972,"
        "0%@972,2%@972,11%@972,9%@972,17%@972,1%@972,20%@972,2%@972,2%@972,16%@972,3%@972] EMC_FREQ 1%@665 "
        "GR3D_FREQ @[0,0,0] NVENC0_FREQ @0 NVENC1_FREQ @0 NVDEC0_FREQ @0 NVDEC1_FREQ @0 NVJPG0_FREQ @0 VIC off "
        "OFA_FREQ @0 PVA0_FREQ off APE 300 cpu@34.468C tj@34.468C soc012@33.843C soc345@34.468C VDD_GPU 0mW/0mW "
        "VDD_CPU_SOC_MSS 4544mW/4544mW VIN_SYS_5V0 4428mW/4294mW"
    ),
    # Thor, Jetson Linux R39.2; the same file of tegra-exporter.
    "Thor R39": (
        "07-23-2026 15:29:27 RAM 9091/125811MB (lfb 19x4MB) SWAP 0/2048MB (cached 0MB) CPU [40%@972,16%@972,18%@972,"
        "20%@972,13%@972,11%@972,15%@972,19%@972,10%@972,15%@972,28%@972,11%@972,11%@972,15%@972] EMC_FREQ 7%@3200 "
        "GR3D_FREQ @[314,314,314] NVENC0_FREQ @1556 NVENC1_FREQ @1556 NVDEC0_FREQ @1556 NVDEC1_FREQ @1556 NVJPG0_FREQ "
        "@1556 VIC 59%@423 OFA_FREQ @1556 PVA0_FREQ off APE 300 cpu@34.312C/34.843C tj@35.906C/35.906C "
        "soc012@34.093C/34.437C gpu@35.906C/35.906C soc345@34.437C/34.437C VDD_GPU 4925mW/4925mW/4925mW "
        "VDD_CPU_SOC_MSS 7953mW/8332mW/8710mW VIN_SYS_5V0 6667mW/6717mW/6767mW"
    ),
    # Thor developer kit, Jetson Linux R39.2, without root; github.com/wendylabsinc/WendyOS, pull request 1316.
    "Thor without root": (
        "07-02-2026 13:45:44 RAM 36529/125749MB (lfb 12x4MB) SWAP 11/4096MB (cached 9MB) CPU [2%@972,1%@972,0%@972,"
        "0%@972,0%@972,0%@972,0%@972,0%@972,0%@972,0%@972,0%@972,0%@972,0%@972,2%@972] cpu@60.406C tj@63.281C "
        "soc012@58.468C gpu@62.906C soc345@63.281C VDD_GPU 37528mW/37528mW/37528mW VDD_CPU_SOC_MSS "
        "18961mW/18961mW/18961mW VIN_SYS_5V0 18331mW/18331mW/18331mW VIN 87426mW/43713mW/87426mW"
    ),
    # TX2, before JetPack 5; github.com/henrygd/beszel, pull request 1631.
    "TX2": (
        "RAM 3276/7859MB (lfb 5x4MB) SWAP 1626/12122MB (cached 181MB) CPU [44%@1421,49%@2031,67%@2034,17%@1420,"
        "25%@1419,8%@1420] EMC_FREQ 1%@1866 GR3D_FREQ 0%@114 APE 150 MTS fg 1% bg 1% PLL@42.5C MCPU@42.5C PMIC@50C "
        "Tboard@38C GPU@39.5C BCPU@42.5C thermal@41.3C Tdiode@39.25C VDD_SYS_GPU 182/182 VDD_SYS_SOC 730/730 "
        "VDD_4V0_WIFI 0/0 VDD_IN 5297/5297 VDD_SYS_CPU 1917/1917 VDD_SYS_DDR 1241/1241"
    ),
    # TX1, Jetson Linux R28.1; github.com/hordiales/jetson-tx1-dev, SCRIPTS.md.
    "TX1": (
        "RAM 3607/3983MB (lfb 47x4MB) SWAP 873/8192MB (cached 281MB) cpu [17%,11%,65%,0%]@1734 EMC 1%@1600 APE 25 "
        "GR3D 39%@76"
    ),
}


def read(board: str) -> Reading:
    reading = parse_line(LINES[board] + "\n", 7)
    assert reading is not None
    return reading


def zones(reading: Reading) -> dict[str, float]:
    return {t.zone: t.celsius for t in reading.temperatures}


def test_everything_of_an_orin_nano() -> None:
    reading = read("Orin Nano")
    assert (reading.t_ns, reading.source, reading.note) == (7, "tegrastats", "")
    assert reading.rails == (Rail("VDD_IN", 17946), Rail("VDD_CPU_GPU_CV", 8896), Rail("VDD_SOC", 3923))
    assert reading.total == Rail("VDD_IN", 17946)
    assert len(reading.cores) == 6
    assert reading.cores[-1] == Activity(93, (247,))
    assert (reading.gpu, reading.emc) == (Activity(84, (713,)), Activity(18, (3199,)))
    assert reading.ram == Memory(6982, 7620)
    assert len(reading.temperatures) == 9
    assert zones(reading)["tj"] == 65.562


def test_what_is_not_understood_is_kept() -> None:
    assert read("Orin Nano").unparsed == (
        "SWAP 2640/16384MB (cached 202MB) NVENC 1%@115 NVDEC 40%@115 NVJPG off NVJPG1 off VIC 31%@115 OFA off "
        "NVDLA0 off PVA0_FREQ off APE 174"
    )


def test_a_sensor_that_is_asleep_has_no_temperature_and_a_rail_that_is_not_connected_is_none() -> None:
    reading = read("AGX Orin, parts asleep")
    assert set(zones(reading)) == {"CPU", "Tboard", "SOC2", "Tdiode", "SOC0", "tj", "SOC1"}
    assert [rail.name for rail in reading.rails] == ["VDD_GPU_SOC", "VDD_CPU_CV", "VIN_SYS_5V0", "VDDQ_VDD2_1V8AO"]


def test_the_total_of_an_agx_orin_counts_its_memory_once() -> None:
    assert read("AGX Orin, parts asleep").total == Rail("VDD_GPU_SOC+VDD_CPU_CV+VIN_SYS_5V0", 2340 + 390 + 4025)


def test_cores_that_are_switched_off_have_neither_load_nor_clock() -> None:
    reading = read("AGX Orin, cores off")
    assert reading.cores[7:] == (Activity(57, (729,)), *[Activity()] * 4)
    assert reading.gpu == Activity(0, (0, 0))


def test_of_three_values_the_present_one_is_taken() -> None:
    reading = read("Thor R39")
    assert reading.rails == (Rail("VDD_GPU", 4925), Rail("VDD_CPU_SOC_MSS", 7953), Rail("VIN_SYS_5V0", 6667))
    assert zones(reading)["cpu"] == 34.312


def test_a_thor_without_its_input_is_the_sum_of_the_module() -> None:
    assert read("Thor R38").total == Rail("VDD_GPU+VDD_CPU_SOC_MSS+VIN_SYS_5V0", 4544 + 4428)


def test_a_thor_with_its_input_is_that_alone() -> None:
    assert read("Thor without root").total == Rail("VIN", 87426)


def test_the_load_of_thors_gpu_is_unknown_and_not_0() -> None:
    assert read("Thor R39").gpu == Activity(None, (314, 314, 314))
    assert read("Thor without root").gpu is None


def test_rails_of_jetpack_4_have_no_unit() -> None:
    reading = read("TX2")
    assert reading.total == Rail("VDD_IN", 5297)
    assert len(reading.rails) == 6
    assert reading.gpu == Activity(0, (114,))
    assert reading.unparsed == "SWAP 1626/12122MB (cached 181MB) APE 150 MTS fg 1% bg 1%"


def test_a_clock_for_all_cores_and_no_rail() -> None:
    reading = read("TX1")
    assert reading.cores == tuple(Activity(load, (1734,)) for load in (17, 11, 65, 0))
    assert (reading.gpu, reading.emc) == (Activity(39, (76,)), Activity(1, (1600,)))
    assert (reading.rails, reading.total) == ((), None)
    assert "no power rail" in reading.note


def test_power_below_zero_is_not_hidden() -> None:
    # Not a recorded line: a small current may be below a sensor's offset.
    reading = parse_line("RAM 1/2MB VDD_GPU -392mW/-392mW", 0)
    assert reading is not None
    assert reading.rails == (Rail("VDD_GPU", -392),)


@pytest.mark.parametrize("line", ["", "\n", "tegrastats: command failed", "VDD_IN 5297/5297", "RAM x/yMB", "RAM 1/2"])
def test_what_is_no_line_of_tegrastats_is_none(line: str) -> None:
    assert parse_line(line, 0) is None


@pytest.mark.parametrize("board", LINES)
def test_a_line_cut_off_anywhere_gives_no_power_heat_or_load_that_the_whole_one_has_not(board: str) -> None:
    whole, line = read(board), LINES[board]
    for end in range(len(line)):
        part = parse_line(line[:end], 7)
        if part is not None:
            assert set(part.rails) <= set(whole.rails)
            assert set(part.temperatures) <= set(whole.temperatures)
            assert [c.load_percent for c in part.cores] in ([], [c.load_percent for c in whole.cores])


@given(st.text(), st.sampled_from(sorted(LINES)), st.integers(0, 400))
def test_nothing_raises(noise: str, board: str, at: int) -> None:
    line = LINES[board]
    for text in (noise, line[:at] + noise + line[at:], f"RAM 1/2MB {noise}"):
        reading = parse_line(text, 0)
        assert reading is None or reading.ram is not None


def test_numbers_without_end_are_no_numbers() -> None:
    nines = "9" * 5000
    reading = parse_line(f"RAM 1/2MB CPU [{nines}%@{nines}] EMC_FREQ {nines}% gpu@{nines}C VDD_IN {nines}mW", 0)
    assert reading is not None
    assert (reading.cores, reading.emc, reading.temperatures, reading.rails) == ((Activity(),), None, (), ())
