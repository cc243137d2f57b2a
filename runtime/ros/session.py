"""One rclpy context and node of a process."""

from __future__ import annotations

from types import TracebackType
from typing import TYPE_CHECKING, Any

from jetvla.runtime.ros.installed import check_installed

if TYPE_CHECKING:
    from rclpy.node import Node

_QUIET = ["--ros-args", "--disable-stdout-logs", "--disable-external-lib-logs"]


class RosSession:
    """Opens a node in its own context and spins it in the caller's thread.

    Signals stay with the process: rclpy's own handlers would end it without a controlled stop. So does the log: rclpy
    writes its lines with the interpreter's lock held, and a terminal that takes no more would stop every thread with
    it, the guard's tick first of all. They still go to ``/rosout``.

    Args:
        name: node name.
        namespace: ROS namespace, may be empty.
        domain_id: None takes ``ROS_DOMAIN_ID`` from the environment.
        managed: open a :class:`~jetvla.runtime.ros.managed_node.ManagedNode`, with a lifecycle.

    Raises:
        MissingDependency: if rclpy or messages that jetvla speaks are not installed.
    """

    def __init__(self, name: str, namespace: str = "", domain_id: int | None = None, managed: bool = False) -> None:
        check_installed()
        import rclpy
        from rclpy.executors import SingleThreadedExecutor
        from rclpy.signals import SignalHandlerOptions

        self._context = rclpy.Context()
        rclpy.init(
            args=_QUIET,
            context=self._context,
            domain_id=domain_id,
            signal_handler_options=SignalHandlerOptions.NO,
        )
        make = _managed if managed else rclpy.create_node
        self.node: Node = make(name, context=self._context, namespace=namespace or None)
        self._executor = SingleThreadedExecutor(context=self._context)
        self._executor.add_node(self.node)

    def spin_once(self, timeout_s: float) -> None:
        """Run at most one callback; return after ``timeout_s`` without one."""
        self._executor.spin_once(timeout_sec=max(timeout_s, 0.0))

    def wake(self) -> None:
        """Make a :meth:`spin_once` of another thread return."""
        # Its own wake() makes it look again, and wait on if there is nothing to do.
        self._executor.create_task(lambda: None)

    def close(self) -> None:
        self._executor.shutdown()
        self.node.destroy_node()
        self._context.try_shutdown()

    def __enter__(self) -> RosSession:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()


def _managed(name: str, **options: Any) -> Node:
    from jetvla.runtime.ros.managed_node import ManagedNode

    return ManagedNode(name, **options)
