"""The operator, with its own rights alone, takes up what its fleet has taught, and lets it go again."""

from datetime import date
from pathlib import Path

import lightgbm
import numpy as np
from fleet_actor import eventually
from fleetfit_api.names import FLEET_CORRECTION_KEY
from fleetfit_kube import ApiClient
from fleetfit_kube.resources import CONFIG_MAPS
from fleetfit_operator.predict.fleet_correction import FEATURE_NAMES, CorrectionFacts, FleetCorrection
from fleetfit_operator.predict.shipped_model import ShippedModel
from operator_process import OperatorProcess, operator_process
from operator_world import SYSTEM


def taught() -> FleetCorrection:
    rng = np.random.default_rng(1)
    data = lightgbm.Dataset(rng.normal(size=(50, len(FEATURE_NAMES))), rng.normal(size=50))
    booster = lightgbm.train({"verbosity": -1, "num_threads": 1}, data, num_boost_round=2)
    facts = CorrectionFacts(
        shipped_model=ShippedModel.load().digest,
        trained_on=date(2026, 1, 1),
        data_digest="d" * 64,
        nodes=20,
        held_out_nodes=9,
        error=0.125,
        error_without=0.5,
    )
    return FleetCorrection(facts, booster, offset=0.5, limit=1.0)


async def until_shown(operator: OperatorProcess, *samples: str) -> None:
    async def shown() -> bool:
        text = (await operator.get("/metrics"))[1]
        return all(sample in text for sample in samples)

    await eventually(shown, f"the operator shows {samples}")


async def test_a_correction_is_taken_up_refused_and_let_go(
    client: ApiClient, kubeconfig: Path, tmp_path: Path
) -> None:
    correction = taught()
    body = {
        "metadata": {"name": "fleetfit-model", "namespace": SYSTEM},
        "data": {FLEET_CORRECTION_KEY: correction.dump()},
    }
    await client.apply(CONFIG_MAPS, body, field_manager="test")
    async with operator_process(kubeconfig, tmp_path, FLEETFIT_RESYNC_S="0.3") as operator:
        await until_shown(
            operator,
            f'correction="{correction.digest[:12]}"',
            'fleetfit_model_held_out_error{model="shipped"} 0.5',
            'fleetfit_model_held_out_error{model="corrected"} 0.125',
        )
        await client.apply(
            CONFIG_MAPS, {**body, "data": {FLEET_CORRECTION_KEY: "broken"}}, field_manager="test"
        )
        await until_shown(operator, 'correction="refused"')
        await client.delete(CONFIG_MAPS, "fleetfit-model", SYSTEM)
        await until_shown(operator, 'correction="none"')
