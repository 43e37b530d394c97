"""Key files and the rule for binds, without sockets."""

from __future__ import annotations

import os
import stat

import pytest
import zmq.auth

from cudaq_target.coupler.endpoint import parse_endpoint
from cudaq_target.coupler.link_errors import InsecureEndpointError, KeyFileError
from cudaq_target.coupler.security import (
    ClientSecurity,
    ServerSecurity,
    check_bind,
    client_security,
    load_keys,
    load_public_key,
    make_keys,
    server_security,
)


def mode_of(path):
    return stat.S_IMODE(path.stat().st_mode)


def test_a_pair_has_safe_modes_whatever_the_umask(tmp_path):
    before = os.umask(0)
    try:
        public, secret = make_keys(tmp_path / "new" / "keys", "host")
    finally:
        os.umask(before)
    assert (mode_of(public), mode_of(secret)) == (0o644, 0o600)
    assert mode_of(public.parent) == 0o700
    assert load_keys(secret).public == load_public_key(public) == load_public_key(secret)


def test_zeromq_reads_our_files(tmp_path):
    public, secret = make_keys(tmp_path, "host")
    pair = load_keys(secret)
    assert zmq.auth.load_certificate(secret) == (pair.public.encode(), pair.secret.encode())
    assert zmq.auth.load_certificate(public) == (pair.public.encode(), None)


def test_we_read_the_files_of_zeromq(tmp_path):
    zmq.auth.create_certificates(tmp_path, "host")
    secret = tmp_path / "host.key_secret"
    secret.chmod(0o600)
    assert load_keys(secret).public == load_public_key(tmp_path / "host.key")


def test_secrets_are_in_no_repr(tmp_path):
    ours, _ = make_keys(tmp_path, "host")
    secret = load_keys(tmp_path / "host.key_secret").secret
    server = server_security(tmp_path / "host.key_secret", [ours])
    client = client_security(tmp_path / "host.key_secret", ours)
    assert secret not in repr(server) + str(server) + repr(client) + repr(server.keys)
    assert secret not in ours.read_text()


def test_nothing_is_overwritten(tmp_path):
    _, secret = make_keys(tmp_path, "host")
    before = secret.read_bytes()
    with pytest.raises(KeyFileError, match="exists"):
        make_keys(tmp_path, "host")
    assert secret.read_bytes() == before


@pytest.mark.parametrize("name", ["", "../host", "a/b", ".hidden", "a b", "x" * 101])
def test_a_name_is_no_path(tmp_path, name):
    with pytest.raises(KeyFileError, match="no name"):
        make_keys(tmp_path / "keys", name)
    assert not (tmp_path / "keys").exists()


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660])
def test_a_secret_that_others_can_read_is_refused(tmp_path, mode):
    _, secret = make_keys(tmp_path, "host")
    secret.chmod(mode)
    with pytest.raises(KeyFileError, match=f"{mode:04o}"):
        load_keys(secret)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"curve\n",
        b'public-key = "short"\n',
        b'public-key = "' + 40 * b"|" + b'"\n',
        b'public-key = "' + 40 * b"#" + b'"\n',  # five of them mean more than 32 bits
        b"\xff\xfe",
    ],
)
def test_malformed_files_are_refused(tmp_path, content):
    path = tmp_path / "host.key"
    path.write_bytes(content)
    with pytest.raises(KeyFileError):
        load_public_key(path)


def test_missing_and_public_files_are_no_secrets(tmp_path):
    public, _ = make_keys(tmp_path, "host")
    with pytest.raises(KeyFileError, match="no secret"):
        load_keys(public)
    with pytest.raises(KeyFileError, match="cannot be read"):
        load_keys(tmp_path / "nobody.key_secret")


def keys_of(folder, *, n_clients):
    _, secret = make_keys(folder, "server")
    clients = [make_keys(folder, f"client{i}")[0] for i in range(n_clients)]
    return server_security(secret, clients)


@pytest.mark.parametrize("text", ["tcp://0.0.0.0:5555", "tcp://192.0.2.1:5555", "tcp://[::]:0"])
def test_strangers_need_keys_and_an_allow_list(tmp_path, text):
    with pytest.raises(InsecureEndpointError, match="cudaq-target keys"):
        check_bind(parse_endpoint(text), None)
    nobody = keys_of(tmp_path, n_clients=0)
    with pytest.raises(InsecureEndpointError):
        check_bind(parse_endpoint(text), nobody)
    check_bind(parse_endpoint(text), ServerSecurity(nobody.keys, frozenset({"k" * 40})))


def test_datagrams_stay_on_this_machine():
    check_bind(parse_endpoint("udp://127.0.0.1:0"), None)
    with pytest.raises(InsecureEndpointError, match="authenticates"):
        check_bind(parse_endpoint("udp://0.0.0.0:0"), None)


@pytest.mark.parametrize("text", ["udp://127.0.0.1:0", "shm://ring"])
def test_keys_are_refused_where_nothing_checks_them(tmp_path, text):
    with pytest.raises(InsecureEndpointError, match="knows no keys"):
        check_bind(parse_endpoint(text), keys_of(tmp_path, n_clients=1))


def test_the_directory_of_a_socket_is_private(tmp_path):
    made = tmp_path / "new"
    check_bind(parse_endpoint(f"ipc://{made}/qpu"), None)
    assert mode_of(made) == 0o700
    made.chmod(0o755)
    with pytest.raises(InsecureEndpointError, match="0755"):
        check_bind(parse_endpoint(f"ipc://{made}/qpu"), None)
    (tmp_path / "file").write_text("")
    with pytest.raises(InsecureEndpointError, match="cannot be used"):
        check_bind(parse_endpoint(f"ipc://{tmp_path}/file/qpu"), None)


def test_paths_may_be_text(tmp_path):
    public, secret = make_keys(str(tmp_path), "text")
    pair = load_keys(str(secret))
    assert server_security(str(secret), [str(public)]) == ServerSecurity(
        pair, frozenset({pair.public})
    )
    assert client_security(str(secret), str(public)) == ClientSecurity(pair, pair.public)
