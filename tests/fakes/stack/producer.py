from tests.fakes.stack.common import play


def run(run_dir, control, queues=None):
    play("producer", run_dir, control, queues=queues)
