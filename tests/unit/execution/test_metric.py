"""What a run printed, ranked: which metric an inspection proposes."""

from studio.execution.metric import result_rank


def test_results_on_held_out_data_come_first_in_any_spelling() -> None:
    names = ["trainLoss", "lr", "valLoss", "loss", "train_loss", "val_loss", "testAccuracy"]
    assert sorted(names, key=result_rank) == [
        "valLoss",
        "val_loss",
        "testAccuracy",
        "loss",
        "trainLoss",
        "train_loss",
        "lr",
    ]
