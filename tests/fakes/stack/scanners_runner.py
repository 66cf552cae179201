from tests.fakes.stack.common import play


def run(run_dir, control):
    play("scanners_runner", run_dir, control)
