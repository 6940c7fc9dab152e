import stream.play.progress
from stream.play.progress import PlaybackProgress


def test_without_a_terminal_it_is_a_plain_line_now_and_then(capsys, monkeypatch):
    monkeypatch.setattr(stream.play.progress, "PLAIN_SECONDS", 0.0)
    with PlaybackProgress("shop", total=20_000) as progress:
        progress.advance(1_200)
        progress.advance(34)
    assert capsys.readouterr().err.splitlines() == [
        "shop: 1,200 of 20,000 impressions",
        "shop: 1,234 of 20,000 impressions",
    ]


def test_plain_lines_are_rare(capsys):
    with PlaybackProgress("shop", total=None) as progress:
        for _ in range(100):
            progress.advance(1)
    assert capsys.readouterr().err == ""


def test_on_a_terminal_it_is_a_bar(capsys, monkeypatch):
    monkeypatch.setenv("FORCE_COLOR", "1")
    with PlaybackProgress("shop", total=10) as progress:
        progress.advance(10)
    assert "10/10" in capsys.readouterr().err
