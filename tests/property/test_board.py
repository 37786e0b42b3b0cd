"""What the board tells while training runs is what the rows will tell."""

from hypothesis import given
from hypothesis import strategies as st

from harness.worker.ranks.comm import Activity, Board

TIMES = st.integers(1, 10**9)


@st.composite
def trainings(draw):
    """Return epochs of steps of ranks, (end, declared, bytes) each, and where all of it is cut."""
    ranks, epochs, steps = draw(st.integers(1, 4)), draw(st.integers(1, 3)), draw(st.integers(1, 5))
    at_ns, rows = 0, []
    for _ in range(epochs):
        at_ns += draw(TIMES)
        starts = [at_ns + draw(st.integers(0, 1000)) for _ in range(ranks)]
        table = []
        for _ in range(steps):
            at_ns += draw(TIMES) + 1000
            ends = [at_ns + draw(st.integers(0, 1000)) for _ in range(ranks)]
            table.append([(end, draw(TIMES), draw(st.integers(0, 10**6))) for end in ends])
        rows.append((starts, table))
    cut = draw(st.integers(0, epochs * steps * ranks))
    return rows, cut, draw(st.integers(0, epochs - 1)), draw(st.permutations(range(ranks)))


def by_definition(done, ranks, warmup_epochs):
    """Return declared, window and bytes of steps that all ranks finished, from the rows."""
    declared = window = read = 0
    for epoch, (starts, steps) in done.items():
        whole = [step for step in steps if len(step) == ranks]
        if epoch <= warmup_epochs or not whole:
            continue
        ends, times, counts = (
            [[row[i] for row in step.values()] for step in whole] for i in range(3)
        )
        declared += sum(map(sum, times)) // ranks
        window += min(ends[-1]) - min(starts)
        read += sum(map(sum, counts))
    return declared, window, read


@given(trainings())
def test_the_tally_is_of_the_steps_that_all_ranks_finished(training):
    rows, cut, warmup_epochs, order = training
    ranks = len(order)
    board = Board(ranks, epochs=len(rows), warmup_epochs=warmup_epochs)
    done = {}
    for epoch, (starts, table) in enumerate(rows, 1):
        done[epoch] = (starts, [{} for _ in table])
        for rank in range(ranks):
            board.enter(rank, Activity.TRAIN, epoch, len(table))
            board.start(rank, epoch, starts[rank])
        for step, row in enumerate(table, 1):
            for rank in order:  # in any order, but no rank two steps ahead
                if not cut:
                    assert board.tally() == by_definition(done, ranks, warmup_epochs)
                    return
                cut -= 1
                end_ns, declared_ns, read_bytes = row[rank]
                board.finish(
                    *(rank, epoch, step),
                    end_ns=end_ns,
                    declared_ns=declared_ns,
                    read_bytes=read_bytes,
                )
                done[epoch][1][step - 1][rank] = row[rank]
    assert board.tally() == by_definition(done, ranks, warmup_epochs)
