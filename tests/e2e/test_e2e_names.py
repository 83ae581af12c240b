"""Two deployments that want the same name on the same node."""

from e2e_models import deployment, suite, variant_entry
from e2e_world import World


async def test_the_older_of_two_deployments_with_one_name_is_served_and_the_other_says_why_not(
    world: World, namespace: str, second_namespace: str
) -> None:
    node = world.nodes_of_class("x86-cpu")[0]
    entry = variant_entry(world.models / "mlp-fp32.onnx", "mlp-fp32")
    for place in (namespace, second_namespace):
        await world.apply(suite("twin", place, world.models_url, [entry]))
    await world.apply(deployment("twin", namespace, "twin", [node]))
    await world.wait_until_ready(namespace, "twin")
    await world.apply(deployment("twin", second_namespace, "twin", [node]))

    refused = await world.wait_for_condition(
        second_namespace, "twin", "Ready", "False", reason="ModelNameConflict"
    )

    assert f"{namespace}/twin" in refused["message"]
    assert "modelName" in refused["message"], "the way out is named"
    tallies = await world.classify(namespace, "twin", [node], images=5)
    assert tallies[node].failed == 0

    await world.apply(
        deployment("twin", second_namespace, "twin", [node], serving={"modelName": "second-twin"})
    )
    await world.wait_until_ready(second_namespace, "twin")
    both = await world.classify(second_namespace, "twin", [node], images=5)
    assert both[node].failed == 0
