from tests.fakes.stack.common import play


def run(run_dir, control, index):
    play(f"consumer-{index}", run_dir, control)
