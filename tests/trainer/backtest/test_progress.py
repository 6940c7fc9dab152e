from trainer.backtest.progress import BacktestProgress


def test_the_view_follows_the_runs_to_their_end(capsys):
    with BacktestProgress(3, 1, 100) as progress:
        for name in ("a, seed 0", "a, seed 1"):
            progress.begin(name)
            progress.advance(name, 40)
        progress.end("a, seed 0")
        progress.end("a, seed 1")
    shown = capsys.readouterr().err
    assert "3 of 3 runs" in shown
    assert "200/200 rows" in shown
    assert "seed 0" not in shown.splitlines()[-1]
