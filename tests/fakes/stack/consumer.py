from tests.fakes.stack.common import play


def run(run_dir, control, index, queues=None):
    play(f"consumer-{index}", run_dir, control, queues=queues)
