"""A child that is a fresh Python: `python -m midstream.worker.spawned FD SETTINGS`."""

import socket
import sys
from typing import NoReturn

from midstream.worker import child, run_log, tasks
from midstream.worker.template import prepare_process
from midstream.worker.template_settings import TemplateSettings


def main() -> NoReturn:
    stream = socket.socket(fileno=int(sys.argv[1]))
    settings = TemplateSettings.from_json(sys.argv[2])
    prepare_process(settings)
    loaded = tasks.load(settings.modules)
    run_log.set_up(settings.log_format)
    child.run(stream, loaded, settings)


if __name__ == "__main__":
    main()
