"""One rollout from the first tick to the last: two classes, a slow node, a bad variant, an absent node."""

from fleetfit_api.deployment import Rollout
from fleetfit_api.names import NodeName

from tests.unit.rollout.rollout_simulation import SimulatedNode, Simulation

EXPECTED = """
 1 move arm1 x1     arm Canary 0/3  x86 Canary 0/4
 2 move -           arm Canary 0/3  x86 Canary 0/4
 3 move x2 x3       arm Canary 0/3  x86 Rolling 1/4
 4 move -           arm Stopped 0/3  x86 Rolling 1/4
 5 move x4          arm Stopped 0/3  x86 Rolling 3/4
 6 move -           arm Stopped 0/3  x86 Rolling 3/4
 7 move -           arm Stopped 0/3  x86 Complete 4/4
   the file for arm is corrected
 8 move arm1        arm Canary 0/3  x86 Complete 4/4
 9 move -           arm Canary 0/3  x86 Complete 4/4
10 move -           arm Canary 0/3  x86 Complete 4/4
11 move arm2        arm Rolling 1/3  x86 Complete 4/4
12 move -           arm Rolling 1/3  x86 Complete 4/4
13 move -           arm Complete 2/3  x86 Complete 4/4
   arm3 is back
14 move arm3        arm Rolling 2/3  x86 Complete 4/4
15 move -           arm Rolling 2/3  x86 Complete 4/4
16 move -           arm Complete 3/3  x86 Complete 4/4
"""


def test_the_trace_of_a_rollout() -> None:
    arm = [
        SimulatedNode(NodeName("arm1"), "arm", load_ticks=2, bad=frozenset("b")),
        SimulatedNode(NodeName("arm2"), "arm", bad=frozenset("b")),
        SimulatedNode(NodeName("arm3"), "arm", away=frozenset(range(1, 14))),
    ]
    x86 = [SimulatedNode(NodeName(f"x{number}"), "x86") for number in range(1, 5)]
    rollout = Rollout.model_validate({"maxUnavailable": "50%"})
    fleet = Simulation(rollout, [*arm, *x86])
    lines = []
    for tick in range(1, 17):
        if tick == 8:
            lines.append("   the file for arm is corrected")
            for node in arm:
                node.wanted = "c"
        if tick == 14:
            lines.append("   arm3 is back")
        plan = fleet.advance()
        classes = "  ".join(f"{each.name} {each.phase} {each.ready}/{each.nodes}" for each in plan.classes)
        lines.append(f"{tick:2} move {' '.join(sorted(plan.moves)) or '-':<11} {classes}")
    assert "\n".join(lines) == EXPECTED.strip("\n")
