from __future__ import annotations

import re
from pathlib import Path

import pytest

import flyteray
from flyteray._client.session.session import session
from flyteray._settings import Settings, Tls
from flyteray.errors import InitializationError


def test_everything_has_a_default() -> None:
    assert Settings.of({}) == Settings(
        home=Path.home() / ".flyteray", storage=str(Path.home() / ".flyteray" / "storage")
    )


def test_each_setting_comes_from_its_variable() -> None:
    settings = Settings.of(
        {
            "FLYTERAY_HOME": "/home/of/flyteray",
            "FLYTERAY_STORAGE": "s3://bucket/prefix",
            "FLYTERAY_DATABASE": "postgresql+psycopg://db/flyteray",
            "FLYTERAY_HOST": " 10.0.0.7 ",
            "FLYTERAY_PORT": "8080",
            "FLYTERAY_AUTH": "off",
            "FLYTERAY_TRUSTED_PROXIES": "10.0.0.7, 192.168.0.0/16,fd00::/8,",
            "FLYTERAY_TRUSTED_HEADERS": "X-Forwarded-User, x-auth-groups",
            "FLYTERAY_NUM_CPUS": " 4 ",
            "FLYTERAY_OBJECT_STORE_MEMORY": "4294967296",
            "FLYTERAY_CACHE_SIZE": "1073741824",
            "FLYTERAY_START_TIMEOUT": "30",
            "FLYTERAY_SECRETS_KEY": "of-the-tests",
            "FLYTERAY_CONTAINER": "ghcr.io/team/app:1",
            "FLYTERAY_URL": "https://{app}.example.com/",
            "FLYTERAY_INGRESS": "head",
            "FLYTERAY_SMTP": "smtps://me%40example.com:of-the-tests@mail.example.com:465",
            "RAY_ADDRESS": "10.0.0.1:6379",
        }
    )

    assert settings == Settings(
        home=Path("/home/of/flyteray"),
        storage="s3://bucket/prefix",
        database="postgresql+psycopg://db/flyteray",
        address="10.0.0.1:6379",
        host="10.0.0.7",
        port=8080,
        auth=False,
        trusted_proxies=("10.0.0.7/32", "192.168.0.0/16", "fd00::/8"),
        trusted_headers=("x-forwarded-user", "x-auth-groups"),
        num_cpus=4,
        object_store_memory=4 * 2**30,
        cache_size=2**30,
        start_timeout_s=30.0,
        secrets_key="of-the-tests",
        container="ghcr.io/team/app:1",
        url="https://{app}.example.com",
        ingress_nodes="head",
        smtp="smtps://me%40example.com:of-the-tests@mail.example.com:465",
    )
    assert settings.mail_sender == "me@example.com"
    assert "of-the-tests" not in repr(settings)
    assert settings.database_url == "postgresql+psycopg://db/flyteray"


def test_storage_lies_in_the_home_unless_it_is_named() -> None:
    assert Settings.of({"FLYTERAY_HOME": "/h"}).storage == "/h/storage"
    assert Settings.of({"FLYTERAY_STORAGE": "relative"}).storage == str(Path("relative").absolute())


@pytest.mark.parametrize(
    ("given", "kept"),
    [("relative", str(Path("relative").absolute())), ("s3://bucket/prefix", "s3://bucket/prefix")],
)
@pytest.mark.usefixtures("own_session")
def test_init_names_the_storage_for_processes_of_every_folder(given: str, kept: str) -> None:
    flyteray.init(storage=given)

    assert session().settings.storage == kept


@pytest.mark.parametrize("option", ["address", "storage", "database"])
def test_init_refuses_what_is_no_text(option: str) -> None:
    with pytest.raises(TypeError, match=f"{option} must be a str.*, got 3"):
        flyteray.init(**{option: 3})


def test_empty_variables_count_as_missing() -> None:
    assert Settings.of({"RAY_ADDRESS": "", "FLYTERAY_PORT": "", "FLYTERAY_HOME": ""}) == Settings.of({})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("FLYTERAY_PORT", "http"),
        ("FLYTERAY_PORT", "65536"),
        ("FLYTERAY_NUM_CPUS", "0"),
        ("FLYTERAY_NUM_CPUS", "1.5"),
    ],
)
def test_a_number_out_of_range_is_named_with_its_variable(name: str, value: str) -> None:
    with pytest.raises(InitializationError, match=f"{name} is '{value}': set it to a whole number from"):
        Settings.of({name: value})


@pytest.mark.parametrize(
    ("name", "value", "problem"),
    [
        ("FLYTERAY_HOST", "localhost", "set it to an IP address of this machine"),
        ("FLYTERAY_HOST", "10.0.0", "set it to an IP address of this machine"),
        ("FLYTERAY_HOST", "fe80::1%eth0", "set it to an IP address of this machine"),
        ("FLYTERAY_AUTH", "yes", "set it to on or off"),
        ("FLYTERAY_INGRESS", "workers", "set it to all or head"),
        ("FLYTERAY_URL", "apps.example.com", "set it to the address that people have"),
        ("FLYTERAY_URL", "ftp://apps.example.com", "set it to the address that people have"),
        ("FLYTERAY_URL", "https://example.com:port", "set it to the address that people have"),
        ("FLYTERAY_URL", "https://example.com/?app={app}", "set it to the address that people have"),
        ("FLYTERAY_URL", "https://{name}.example.com", "set it to the address that people have"),
        ("FLYTERAY_URL", "http://a b", "set it to the address that people have"),
        ("FLYTERAY_URL", "https://user:word@example.com", "set it to the address that people have"),
    ],
)
def test_an_address_or_a_switch_that_is_none_is_named(name: str, value: str, problem: str) -> None:
    with pytest.raises(InitializationError, match=re.escape(f"{name} is '{value}': {problem}")):
        Settings.of({name: value})


@pytest.mark.parametrize(
    "value",
    ["proxy.example.com", "10.0.0.7/33", "10.0.0.7/8", "10.0.0", "fe80::1%eth0", "*", "10.0.0.1 10.0.0.2"],
)
def test_a_proxy_is_an_address_or_a_network(value: str) -> None:
    with pytest.raises(
        InitializationError, match=r"FLYTERAY_TRUSTED_PROXIES names .* no IP address or network"
    ) as caught:
        Settings.of({"FLYTERAY_TRUSTED_PROXIES": f"127.0.0.1,{value}"})

    assert repr(value) in str(caught.value)


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        ("X_Auth_User", "letters and digits, with single hyphens between"),
        ("X-Auth-.*", "letters and digits, with single hyphens between"),
        ("X-Flyteray-User", "the ingress itself says that"),
        ("X-Forwarded-For", "the ingress itself says that"),
        ("Authorization", "every client may send that"),
        ("Cookie", "every client may send that"),
    ],
)
def test_a_header_that_a_proxy_is_trusted_with_is_one_of_its_own(value: str, problem: str) -> None:
    with pytest.raises(InitializationError, match=f"FLYTERAY_TRUSTED_HEADERS names .*{problem}") as caught:
        Settings.of({"FLYTERAY_TRUSTED_PROXIES": "::1", "FLYTERAY_TRUSTED_HEADERS": f"X-Ok, {value}"})

    assert repr(value) in str(caught.value)


def test_headers_without_a_proxy_to_trust_are_refused() -> None:
    with pytest.raises(InitializationError, match="FLYTERAY_TRUSTED_PROXIES names no proxy"):
        Settings.of({"FLYTERAY_TRUSTED_HEADERS": "X-Forwarded-User"})


@pytest.mark.parametrize(
    ("host", "auth", "asks", "open_to_all"),
    [
        ("", "", False, False),
        ("127.0.0.2", "", False, False),
        ("::1", "", False, False),
        ("127.0.0.1", "ON", True, False),
        ("0.0.0.0", "", True, False),
        ("::", "", True, False),
        ("10.0.0.7", "off", False, True),
    ],
)
def test_keys_are_asked_for_beyond_this_machine_unless_said_otherwise(
    host: str, auth: str, asks: bool, open_to_all: bool
) -> None:
    settings = Settings.of({"FLYTERAY_HOST": host, "FLYTERAY_AUTH": auth})

    assert settings.asks_for_keys is asks
    assert (settings.exposure is not None) is open_to_all
    assert settings.exposure is None or f"listens on {host} and asks for no keys" in settings.exposure


def test_the_folder_of_sockets_is_short_and_of_one_home() -> None:
    here, there = (Settings.of({"FLYTERAY_HOME": f"/{'deep/' * 40}{name}"}).temp_dir for name in "ab")

    assert here != there
    assert len(str(here)) < 35


@pytest.mark.parametrize(
    ("storage", "url"),
    [
        ("/data", "sqlite:////data/registry.sqlite"),
        ("s3://bucket/prefix", "sqlite:////home/of/flyteray/registry.sqlite"),
    ],
)
def test_the_registry_is_beside_the_outputs_where_they_are_on_disk(storage: str, url: str) -> None:
    settings = Settings.of({"FLYTERAY_HOME": "/home/of/flyteray", "FLYTERAY_STORAGE": storage})

    assert settings.database_url == url
    assert settings.secrets_key_path == Path("/home/of/flyteray/secrets.key")


@pytest.mark.parametrize(
    ("value", "problem"), [("foo", "has no '://'"), ("mysql://me:word@db/x", "begins with 'mysql'")]
)
def test_what_is_no_address_of_a_registry_is_refused_without_its_password(value: str, problem: str) -> None:
    with pytest.raises(
        InitializationError, match=f"FLYTERAY_DATABASE is no address .*, it {problem}"
    ) as refused:
        Settings.of({"FLYTERAY_DATABASE": value})
    assert "word@" not in str(refused.value)


@pytest.mark.parametrize("value", ["mail.example.com", "smtp://", "http://of-the-tests@mail.example.com"])
def test_a_mail_server_that_is_none_is_refused_and_its_password_not_shown(value: str) -> None:
    with pytest.raises(InitializationError, match=r"FLYTERAY_SMTP is no address.*smtp://host:port") as error:
        Settings.of({"FLYTERAY_SMTP": value})
    assert "of-the-tests" not in str(error.value)


def test_a_sender_is_an_address() -> None:
    assert Settings.of({"FLYTERAY_SMTP_FROM": "a@b.example"}).mail_sender == "a@b.example"
    assert Settings.of({"FLYTERAY_SMTP": "smtp://mail"}).mail_sender.startswith("flyteray@")
    with pytest.raises(InitializationError, match="FLYTERAY_SMTP_FROM is 'me': set it to an address"):
        Settings.of({"FLYTERAY_SMTP_FROM": "me"})


def test_hosts_are_named_in_lower_case_with_that_of_the_url() -> None:
    settings = Settings.of(
        {
            "FLYTERAY_ALLOWED_HOSTS": "Apps.example.com, *.corp.example,box",
            "FLYTERAY_URL": "https://ml.example.com/x",
        }
    )

    assert settings.allowed_hosts == ("apps.example.com", "*.corp.example", "box")
    assert settings.answered_hosts == (*settings.allowed_hosts, "ml.example.com")
    assert Settings.of({}).answered_hosts == ()
    assert Settings.of({"FLYTERAY_ALLOWED_HOSTS": "*"}).answered_hosts == ("*",)


@pytest.mark.parametrize(
    "value", ["apps.example.com:80", "https://a.example", "a b", "*example.com", "a.*", "-a", "a..b"]
)
def test_what_is_no_host_is_refused(value: str) -> None:
    with pytest.raises(InitializationError, match=r"FLYTERAY_ALLOWED_HOSTS names .* which is no host"):
        Settings.of({"FLYTERAY_ALLOWED_HOSTS": f"fine,{value}"})


def test_who_closes_his_side_has_left_unless_it_is_said_otherwise() -> None:
    said = [Settings.of({"FLYTERAY_HALF_CLOSED": word}).half_closed for word in ("", "left", "answered")]

    assert said == [False, False, True]
    with pytest.raises(InitializationError, match="set it to answered or left"):
        Settings.of({"FLYTERAY_HALF_CLOSED": "on"})


def test_tls_has_its_files_and_a_port(tmp_path: Path) -> None:
    whole = {
        "FLYTERAY_TLS_CERTIFICATE": "/etc/tls/chain.pem",
        "FLYTERAY_TLS_KEY": "~/key.pem",
        "FLYTERAY_TLS_CLIENTS": "clients.pem",
        "FLYTERAY_TLS_PORT": "8443",
    }

    assert Settings.of(whole).tls == Tls(
        certificate=Path("/etc/tls/chain.pem"),
        key=Path.home() / "key.pem",
        clients=Path("clients.pem").absolute(),
        port=8443,
    )
    both = Path("/etc/tls/both.pem")
    assert Settings.of({"FLYTERAY_TLS_CERTIFICATE": str(both)}).tls == Tls(both, both)


@pytest.mark.parametrize("name", ["FLYTERAY_TLS_KEY", "FLYTERAY_TLS_CLIENTS", "FLYTERAY_TLS_PORT"])
def test_tls_without_a_certificate_is_refused(name: str) -> None:
    with pytest.raises(InitializationError, match=f"{name} is set, but no certificate"):
        Settings.of({name: "1"})
