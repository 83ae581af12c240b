"""File trees as kernels show them on boards that people use; only the files that matter, with real names and units."""

from pathlib import Path

CPU = "sys/devices/system/cpu"

STAT = "cpu  100 0 50 800 50 0 0 0 0 0\ncpu0 100 0 50 800 50 0 0 0 0 0\nintr 1\n"


def write_tree(root: Path, *trees: dict[str, str]) -> Path:
    """Write the files below the root and return it."""
    for tree in trees:
        for name, text in tree.items():
            path = root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(f"{text}\n")
    return root


# JetPack 6 on an Orin Nano: Linux's own INA3221 driver, zones that ask for EAGAIN when their engine is off.
ORIN_NANO = {
    "proc/stat": STAT,
    "etc/nv_tegra_release": "# R36 (release), REVISION: 4.3, GCID: 38968081, BOARD: generic, EABI: aarch64, "
    "DATE: Wed Jan  8 01:49:37 UTC 2025\n# KERNEL_VARIANT: oot",
    f"{CPU}/cpufreq/policy0/scaling_governor": "schedutil",
    f"{CPU}/cpufreq/policy4/scaling_governor": "schedutil",
    "sys/class/thermal/thermal_zone0/type": "cpu-thermal",
    "sys/class/thermal/thermal_zone0/temp": "52312",
    "sys/class/thermal/thermal_zone0/trip_point_0_type": "critical",
    "sys/class/thermal/thermal_zone0/trip_point_0_temp": "104500",
    "sys/class/thermal/thermal_zone0/trip_point_1_type": "passive",
    "sys/class/thermal/thermal_zone0/trip_point_1_temp": "99000",
    "sys/class/thermal/thermal_zone1/type": "gpu-thermal",
    "sys/class/thermal/thermal_zone1/temp": "54000",
    "sys/class/thermal/thermal_zone8/type": "tj-thermal",
    "sys/class/thermal/thermal_zone8/temp": "54000",
    "sys/class/thermal/cooling_device0/type": "pwm-fan",
    "sys/class/thermal/cooling_device0/cur_state": "2",
    "sys/class/thermal/cooling_device1/type": "cpufreq-cpu0",
    "sys/class/thermal/cooling_device1/cur_state": "0",
    "sys/class/hwmon/hwmon0/name": "pwmfan",
    "sys/class/hwmon/hwmon1/name": "ina3221",
    "sys/class/hwmon/hwmon1/in1_label": "VDD_IN",
    "sys/class/hwmon/hwmon1/in1_input": "4944",
    "sys/class/hwmon/hwmon1/curr1_input": "1208",
    "sys/class/hwmon/hwmon1/in2_label": "VDD_CPU_GPU_CV",
    "sys/class/hwmon/hwmon1/in2_input": "4936",
    "sys/class/hwmon/hwmon1/curr2_input": "304",
    "sys/class/hwmon/hwmon1/in3_label": "VDD_SOC",
    "sys/class/hwmon/hwmon1/in3_input": "4944",
    "sys/class/hwmon/hwmon1/curr3_input": "320",
    "sys/class/hwmon/hwmon1/in7_label": "sum of shunt voltages",
    "sys/class/hwmon/hwmon1/in7_input": "10",
    "sys/devices/platform/bus@0/17000000.gpu/load": "437",
}

# An AGX Orin has no rail for the whole module: two chips whose rails add up, one of which hangs on another.
AGX_ORIN_RAILS = {
    "sys/class/hwmon/hwmon3/name": "ina3221",
    "sys/class/hwmon/hwmon3/in1_label": "VDD_GPU_SOC",
    "sys/class/hwmon/hwmon3/in1_input": "20000",
    "sys/class/hwmon/hwmon3/curr1_input": "200",
    "sys/class/hwmon/hwmon3/in2_label": "VDD_CPU_CV",
    "sys/class/hwmon/hwmon3/in2_input": "20000",
    "sys/class/hwmon/hwmon3/curr2_input": "100",
    "sys/class/hwmon/hwmon3/in3_label": "VIN_SYS_5V0",
    "sys/class/hwmon/hwmon3/in3_input": "5000",
    "sys/class/hwmon/hwmon3/curr3_input": "600",
    "sys/class/hwmon/hwmon4/name": "ina3221",
    "sys/class/hwmon/hwmon4/in1_label": "NC",
    "sys/class/hwmon/hwmon4/in1_input": "5000",
    "sys/class/hwmon/hwmon4/curr1_input": "8",
    "sys/class/hwmon/hwmon4/in2_label": "VDDQ_VDD2_1V8AO",
    "sys/class/hwmon/hwmon4/in2_input": "5000",
    "sys/class/hwmon/hwmon4/curr2_input": "100",
}

# JetPack 4 on the first Jetson Nano: NVIDIA's own INA3221 driver, and a power chip with a constant for a temperature.
_NANO_INA = "sys/bus/i2c/drivers/ina3221x/6-0040/iio:device0"
JETSON_NANO = {
    "proc/stat": STAT,
    "etc/nv_tegra_release": "# R32 (release), REVISION: 7.1, GCID: 29818004, BOARD: t210ref, EABI: aarch64, "
    "DATE: Sat Feb 19 17:05:08 UTC 2022",
    f"{CPU}/cpu0/cpufreq/scaling_governor": "schedutil",
    "sys/class/thermal/thermal_zone0/type": "AO-therm",
    "sys/class/thermal/thermal_zone0/temp": "41000",
    "sys/class/thermal/thermal_zone1/type": "CPU-therm",
    "sys/class/thermal/thermal_zone1/temp": "33500",
    "sys/class/thermal/thermal_zone4/type": "PMIC-Die",
    "sys/class/thermal/thermal_zone4/temp": "100000",
    f"{_NANO_INA}/rail_name_0": "POM_5V_IN",
    f"{_NANO_INA}/in_power0_input": "2532",
    f"{_NANO_INA}/rail_name_1": "POM_5V_GPU",
    f"{_NANO_INA}/in_power1_input": "160",
    f"{_NANO_INA}/rail_name_2": "POM_5V_CPU",
    f"{_NANO_INA}/in_power2_input": "561",
    "sys/devices/57000000.gpu/load": "0",
}

RASPBERRY_PI = {
    "proc/stat": STAT,
    f"{CPU}/cpufreq/policy0/scaling_governor": "ondemand",
    f"{CPU}/cpufreq/policy0/scaling_max_freq": "1500000",
    f"{CPU}/cpufreq/policy0/scaling_cur_freq": "600000",
    "sys/class/thermal/thermal_zone0/type": "cpu-thermal",
    "sys/class/thermal/thermal_zone0/temp": "48686",
    "sys/class/thermal/thermal_zone0/trip_point_0_type": "critical",
    "sys/class/thermal/thermal_zone0/trip_point_0_temp": "110000",
    "sys/class/hwmon/hwmon0/name": "cpu_thermal",
    "sys/class/hwmon/hwmon0/temp1_input": "48686",
    "sys/class/hwmon/hwmon1/name": "rpi_volt",
    "sys/class/hwmon/hwmon1/in0_lcrit_alarm": "0",
    "sys/devices/platform/soc/soc:firmware/get_throttled": "0",
}

# A laptop on its battery, with a mouse that has one too; energy counters are for root alone and so absent here.
_LAPTOP_BATTERY = "sys/class/power_supply/BAT0"
LAPTOP = {
    "proc/stat": STAT,
    "proc/sys/kernel/osrelease": "6.8.0-45-generic",
    "sys/module/i915/initstate": "live",
    "sys/module/intel_vpu/initstate": "live",
    "sys/module/intel_vpu/version": "1.0.0",
    f"{CPU}/cpufreq/policy0/scaling_governor": "powersave",
    f"{CPU}/intel_pstate/status": "active",
    f"{CPU}/cpu0/thermal_throttle/core_throttle_count": "12",
    f"{CPU}/cpu0/thermal_throttle/core_throttle_total_time_ms": "40",
    f"{CPU}/cpu0/thermal_throttle/package_throttle_count": "31",
    f"{CPU}/cpu0/thermal_throttle/package_throttle_total_time_ms": "90",
    "sys/class/thermal/thermal_zone0/type": "acpitz",
    "sys/class/thermal/thermal_zone0/temp": "25000",
    "sys/class/thermal/thermal_zone1/type": "SEN2",
    "sys/class/thermal/thermal_zone1/temp": "44000",
    "sys/class/thermal/thermal_zone1/trip_point_0_type": "passive",
    "sys/class/thermal/thermal_zone1/trip_point_0_temp": "43000",
    "sys/class/thermal/thermal_zone2/type": "x86_pkg_temp",
    "sys/class/thermal/thermal_zone2/temp": "61000",
    "sys/class/thermal/thermal_zone2/trip_point_0_type": "passive",
    "sys/class/thermal/thermal_zone2/trip_point_0_temp": "0",
    "sys/class/thermal/cooling_device0/type": "Processor",
    "sys/class/thermal/cooling_device0/cur_state": "0",
    "sys/class/thermal/cooling_device1/type": "TCC Offset",
    "sys/class/thermal/cooling_device1/cur_state": "3",
    "sys/class/thermal/cooling_device2/type": "intel_powerclamp",
    "sys/class/thermal/cooling_device2/cur_state": "-1",
    "sys/class/power_supply/AC/type": "Mains",
    "sys/class/power_supply/AC/online": "0",
    f"{_LAPTOP_BATTERY}/type": "Battery",
    f"{_LAPTOP_BATTERY}/status": "Discharging",
    f"{_LAPTOP_BATTERY}/capacity": "63",
    f"{_LAPTOP_BATTERY}/current_now": "-1200000",
    f"{_LAPTOP_BATTERY}/voltage_now": "11400000",
    "sys/class/power_supply/hidpp_battery_0/type": "Battery",
    "sys/class/power_supply/hidpp_battery_0/scope": "Device",
    "sys/class/power_supply/hidpp_battery_0/status": "Discharging",
    "sys/class/power_supply/hidpp_battery_0/capacity": "5",
}

# A server with two packages and an NVIDIA card; the driver of the open modules writes its line another way.
_RAPL = "sys/class/powercap"
SERVER = {
    "proc/stat": STAT,
    "proc/driver/nvidia/version": "NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  550.54.14  Release Build  "
    "(dvs-builder@U16-I3-B03-4-3)  Thu Feb 22 01:25:25 UTC 2024\nGCC version:  gcc version 12.3.0 (Ubuntu 12.3.0-1)",
    f"{CPU}/cpufreq/policy0/scaling_governor": "performance",
    f"{CPU}/cpufreq/policy0/scaling_cur_freq": "3200000",
    f"{CPU}/cpufreq/policy0/scaling_max_freq": "4100000",
    f"{CPU}/cpufreq/policy0/base_frequency": "2400000",
    f"{CPU}/intel_pstate/status": "active",
    "sys/class/hwmon/hwmon0/name": "coretemp",
    "sys/class/hwmon/hwmon0/temp1_input": "47000",
    "sys/class/hwmon/hwmon0/temp2_input": "44000",
    "sys/class/hwmon/hwmon1/name": "nvme",
    "sys/class/hwmon/hwmon1/temp1_input": "71850",
    f"{_RAPL}/intel-rapl:0/name": "package-0",
    f"{_RAPL}/intel-rapl:0/energy_uj": "1000000",
    f"{_RAPL}/intel-rapl:0/max_energy_range_uj": "262143328850",
    f"{_RAPL}/intel-rapl:0:0/name": "core",
    f"{_RAPL}/intel-rapl:0:0/energy_uj": "500000",
    f"{_RAPL}/intel-rapl:0:1/name": "dram",
    f"{_RAPL}/intel-rapl:0:1/energy_uj": "10000000",
    f"{_RAPL}/intel-rapl:0:1/max_energy_range_uj": "65712999613",
    f"{_RAPL}/intel-rapl:1/name": "package-1",
    f"{_RAPL}/intel-rapl:1/energy_uj": "262143000000",
    f"{_RAPL}/intel-rapl:1/max_energy_range_uj": "262143328850",
    f"{_RAPL}/intel-rapl-mmio:0/name": "package-0",
    f"{_RAPL}/intel-rapl-mmio:0/energy_uj": "7",
}

TREES = {
    "orin-nano": ORIN_NANO,
    "jetson-nano": JETSON_NANO,
    "raspberry-pi": RASPBERRY_PI,
    "laptop": LAPTOP,
    "server": SERVER,
}
