"""ROS 2: is it there, on which domain, who else is, and does anybody take the commands?"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence

from jetvla.runtime.config import Config
from jetvla.runtime.ros.installed import INSTALL, missing
from jetvla.runtime.ros.session import RosSession
from jetvla.services.doctor.finding import Finding
from jetvla.services.doctor.patient import Patient
from jetvla.services.doctor.system import System
from jetvla.services.firstboot import ENVIRONMENT

# DDS finds participants of one machine within a fraction of this.
_DISCOVERY_S = 2.0
_NODE = "jetvla_doctor"


def ros(patient: Patient) -> Iterator[Finding]:
    config = patient.config
    if not config.uses_ros:
        yield Finding("ROS 2", True, "not asked for by the configuration")
        return
    if gone := missing():
        yield _missing(gone, patient.system)
        return
    with RosSession(_NODE, config.ros.namespace, config.ros.domain_id) as session:
        end = time.monotonic() + _DISCOVERY_S
        while (left := end - time.monotonic()) > 0:
            session.spin_once(min(left, 0.1))
        yield Finding("ROS 2", True, f"domain {session.node.context.get_domain_id()}, {_peers(session)}")
        yield from _drivers(session, config)


def _missing(gone: Sequence[str], system: System) -> Finding:
    setups = sorted(system.path("/opt/ros").glob("*/setup.sh"))
    if setups and "=" not in system.text(f"/{ENVIRONMENT}"):
        packaged = system.path("/opt/jetvla/venv").exists()
        remedy = "sudo systemctl restart jetvla.target, which reads it" if packaged else f". {setups[-1]}"
        return Finding("ROS 2", False, f"{setups[-1].parent} is not in the environment yet", f"{remedy}; then again")
    return Finding("ROS 2", False, f"not installed: {', '.join(gone)}", INSTALL)


def _peers(session: RosSession) -> str:
    nodes = session.node.get_node_names_and_namespaces()
    names = sorted(f"{space.rstrip('/')}/{name}" for name, space in nodes if name != _NODE)
    return f"other nodes: {', '.join(names)}" if names else "no other node"


def _drivers(session: RosSession, config: Config) -> Iterator[Finding]:
    """A robot that is switched off is no fault of this machine; the guard will not arm without it."""
    for output in config.guard.outputs:
        if output.kind != "log":
            readers = session.node.get_subscriptions_info_by_topic(output.topic)
            names = ", ".join(sorted({reader.node_name for reader in readers}))
            yield Finding(
                f"robot on {output.topic}",
                bool(readers),
                f"listened to by {names}" if readers else "nobody listens",
                "start the robot's driver, on the same ROS domain",
                needed=False,
            )
