"""Nodes for the tests beside this file: real processes on free ports of loopback. CORE_COMMAND starts one."""

import os
import shlex
import shutil
import signal
import socket
import subprocess
import tempfile


def free_ports(count):
    """All are held open until there are enough, so that no two are the same."""
    listeners = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [listener.getsockname()[1] for listener in listeners]
    for listener in listeners:
        listener.close()
    return ports


class Nodes:
    def __init__(self, size):
        command = shlex.split(os.environ.get("CORE_COMMAND", ""))
        if not command:
            raise SystemExit('CORE_COMMAND is not set: it starts a node, for example ".build/release/portcullis core"')
        self.directory = tempfile.mkdtemp(prefix="portcullis-json-")
        ports = free_ports(2 * size)
        self.clients = [f"http://127.0.0.1:{port}" for port in ports[:size]]
        peers = [f"http://127.0.0.1:{port}" for port in ports[size:]]
        cluster = ",".join(f"n{i}={peer}" for i, peer in enumerate(peers))
        self.processes = []
        for i, (client, peer) in enumerate(zip(self.clients, peers)):
            log = open(f"{self.directory}/n{i}.log", "wb")
            arguments = ["--name", f"n{i}", "--data-dir", f"{self.directory}/n{i}", "--initial-cluster", cluster,
                         "--listen-client-urls", client, "--advertise-client-urls", client,
                         "--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer]
            self.processes.append(subprocess.Popen(command + arguments, stdout=log, stderr=log))
            log.close()

    def stop(self):
        for process in self.processes:
            process.send_signal(signal.SIGKILL)
        for process in self.processes:
            process.wait()
        shutil.rmtree(self.directory)
