from tests.fakes.stack.common import play


def run(run_dir, control):
    play("producer", run_dir, control)
