"""Where values come from: defaults, file, environment, flags, in this order; and no mistyped name passes."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.another_user import give_away
from tokenkeep.settings import Secret, SettingsError, load

LONG = "a server secret that is long enough: 0f3b"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty current folder."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def write(folder: Path, text: str, name: str = "tokenkeep.toml") -> Path:
    """Write a settings file."""
    path = folder / name
    path.write_text(text, "utf-8")
    return path


def test_without_sources_all_is_default(folder: Path):
    """Nothing need be configured, and nothing has an origin then."""
    loaded = load(environ={})
    assert loaded.settings.issuer == "http://127.0.0.1:8000"
    assert loaded.origins == {}


@pytest.mark.parametrize("named", [False, True], ids=["found here", "named"])
def test_a_settings_file_of_another_user_is_refused(folder: Path, monkeypatch: pytest.MonkeyPatch, named: bool):
    """Whoever put a file where a command is run does not choose its settings; the way out is said."""
    planted = write(folder, "port = 9999")
    give_away(planted, monkeypatch)
    with pytest.raises(SettingsError, match=r"^settings file .*tokenkeep\.toml belongs to user .* chown"):
        load(config=planted if named else None)


@pytest.mark.parametrize("named", [False, True], ids=["found here", "named"])
def test_a_settings_file_that_others_may_write_is_refused(folder: Path, named: bool):
    """A file that others may change is nobody's word; the command that closes it is said."""
    opened = write(folder, "port = 9999")
    opened.chmod(0o664)
    with pytest.raises(SettingsError, match=r"^settings file .*tokenkeep\.toml can be written .* chmod go-w"):
        load(config=opened if named else None)
    opened.chmod(0o644)
    assert load(config=opened if named else None).settings.port == 9999


def test_later_sources_win(folder: Path):
    """A file overrides defaults, the environment overrides the file, and flags override all."""
    write(folder, 'port = 1001\nclient_id = "file"\nissuer = "http://127.0.0.1:1001"\nhost = "::1"')
    environ = {"TOKENKEEP_PORT": "1002", "TOKENKEEP_CLIENT_ID": "environment"}
    loaded = load(environ=environ, flags={"port": "1003", "host": None})
    assert loaded.settings.port == 1003
    assert loaded.settings.client_id == "environment"
    assert loaded.settings.issuer == "http://127.0.0.1:1001"
    assert loaded.settings.host == "::1"
    assert loaded.origins == {
        "port": "--port",
        "client_id": "TOKENKEEP_CLIENT_ID",
        "issuer": "tokenkeep.toml",
        "host": "tokenkeep.toml",
    }


def test_every_kind_is_read_from_every_source(folder: Path):
    """Text, numbers, switches, durations, lists, paths and secrets have one form in TOML and one in text."""
    write(
        folder,
        f"""
        client_id = "text"
        port = 1001
        api_docs = true
        access_ttl = "5m"
        login_limit_address = "10/1m"
        audiences = ["https://a.example", "https://b.example"]
        data_dir = "somewhere"
        secret = "{LONG}"
        previous_secrets = ["{LONG}1", "{LONG}2"]
        """,
    )
    environ = {
        "TOKENKEEP_CLIENT_ID": "text",
        "TOKENKEEP_PORT": "1001",
        "TOKENKEEP_API_DOCS": "on",
        "TOKENKEEP_ACCESS_TTL": "5m",
        "TOKENKEEP_LOGIN_LIMIT_ADDRESS": "10/1m",
        "TOKENKEEP_AUDIENCES": "https://a.example, https://b.example",
        "TOKENKEEP_DATA_DIR": "somewhere",
        "TOKENKEEP_SECRET": LONG,
        "TOKENKEEP_PREVIOUS_SECRETS": f"{LONG}1,{LONG}2",
    }
    from_file = load(environ={}).settings
    (folder / "tokenkeep.toml").unlink()
    assert from_file == load(environ=environ).settings
    assert from_file.secret == Secret(LONG)


def test_file_may_be_named(folder: Path):
    """A file can be named by an argument or a variable; the argument wins."""
    write(folder, "port = 1001", "one.toml")
    other = write(folder, "port = 1002", "other.toml")
    write(folder, "port = 1003")
    assert load(environ={"TOKENKEEP_CONFIG": "one.toml"}).settings.port == 1001
    assert load(config=other, environ={"TOKENKEEP_CONFIG": "one.toml"}).settings.port == 1002
    assert load(config=other).origins == {"port": str(other)}


@pytest.mark.parametrize("environ", [{}, {"TOKENKEEP_CONFIG": "missing.toml"}])
def test_named_file_must_be_there(folder: Path, environ: dict[str, str]):
    """A file that was named and is not there is an error, and not an empty file."""
    config = None if environ else Path("missing.toml")
    with pytest.raises(SettingsError, match=r"missing\.toml"):
        load(config=config, environ=environ)


@pytest.mark.parametrize("text", ["port =", "port = 1\nport = 2", "[", "\0", "port: 1001"])
def test_file_must_be_toml(folder: Path, text: str):
    """A file that cannot be read names itself."""
    write(folder, text)
    with pytest.raises(SettingsError, match=r"tokenkeep\.toml"):
        load(environ={})


def test_file_that_is_no_text_names_itself(folder: Path):
    """Bytes that are no UTF-8 are refused like any other broken file."""
    (folder / "tokenkeep.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(SettingsError, match=r"tokenkeep\.toml"):
        load(environ={})


def test_folder_is_no_file(folder: Path):
    """A folder of that name is refused."""
    (folder / "settings").mkdir()
    with pytest.raises(SettingsError, match="settings"):
        load(config=folder / "settings")


@pytest.mark.parametrize(
    ("text", "environ", "complaint"),
    [
        ('issur = "x"', {}, r"unknown setting issur \(tokenkeep\.toml\); did you mean issuer\?"),
        ("acces_ttl = '1h'", {}, r"unknown setting acces_ttl \(tokenkeep\.toml\); did you mean access_ttl\?"),
        ("xyzzy = 1", {}, r"unknown setting xyzzy \(tokenkeep\.toml\)$"),
        ("[server]\nport = 1", {}, r"unknown setting server \(tokenkeep\.toml\)"),
        ("Port = 1", {}, r"unknown setting Port \(tokenkeep\.toml\); did you mean port\?"),
        ("", {"TOKENKEEP_ISSUR": "x"}, r"unknown setting issur \(TOKENKEEP_ISSUR\); did you mean issuer\?"),
        ("", {"TOKENKEEP_SECRT_FILE": "x"}, r"unknown setting secrt_file \(TOKENKEEP_SECRT_FILE\)"),
        ("", {"TOKENKEEP_PORT_FILE": "x"}, r"unknown setting port_file \(TOKENKEEP_PORT_FILE\)"),
        ("", {"TOKENKEEP_": "x"}, r"unknown setting"),
        ("", {"TOKENKEEP_SERVICE_HOST": "10.0.0.1"}, r"enableServiceLinks"),
        ("", {"TOKENKEEP_PORT_8000_TCP": "tcp://10.0.0.1:8000"}, r"enableServiceLinks"),
    ],
)
def test_mistyped_name_is_an_error(folder: Path, text: str, environ: dict[str, str], complaint: str):
    """A name that nobody knows is refused with where it stands and what was probably meant."""
    write(folder, text)
    with pytest.raises(SettingsError, match=complaint):
        load(environ=environ)


def test_variables_of_others_are_left_alone(folder: Path):
    """Only variables with the prefix are looked at."""
    environ = {"PORT": "1", "tokenkeep_port": "1", "XTOKENKEEP_PORT": "1", "TOKENKEEPER": "1"}
    assert load(environ=environ).origins == {}


@pytest.mark.parametrize(
    ("text", "environ", "flags", "complaint"),
    [
        ('port = "http"', {}, {}, r"port \(tokenkeep\.toml\): expected a whole number"),
        ("port = true", {}, {}, r"port \(tokenkeep\.toml\): expected a whole number"),
        ("access_ttl = 900", {}, {}, r"access_ttl \(tokenkeep\.toml\): expected a duration such as"),
        ("issuer = 1", {}, {}, r"issuer \(tokenkeep\.toml\): expected text"),
        ("audiences = [1]", {}, {}, r"audiences \(tokenkeep\.toml\): expected a list"),
        ("", {"TOKENKEEP_API_DOCS": "maybe"}, {}, r"api_docs \(TOKENKEEP_API_DOCS\): expected on or off"),
        ("", {"TOKENKEEP_API_DOCS": ""}, {}, r"api_docs \(TOKENKEEP_API_DOCS\): expected on or off"),
        ("", {}, {"access_ttl": "15"}, r"access_ttl \(--access-ttl\): expected a duration such as"),
        ("", {}, {"port": "99999"}, r"port must be between 1 and 65535"),
    ],
)
def test_bad_value_names_setting_and_source(
    folder: Path, text: str, environ: dict[str, str], flags: dict[str, str], complaint: str
):
    """A value that cannot be read says which setting it is for, where it stands, and what is expected."""
    write(folder, text)
    with pytest.raises(SettingsError, match=f"^{complaint}"):
        load(environ=environ, flags=flags)


@pytest.mark.parametrize("text", [LONG, LONG + "\n"])
def test_secret_may_be_in_a_file(folder: Path, text: str):
    """A secret can be read from a file, whose one last line break does not count."""
    path = write(folder, text, "secret.txt")
    loaded = load(environ={"TOKENKEEP_SECRET_FILE": str(path)})
    assert loaded.settings.secret == Secret(LONG)
    assert loaded.origins == {"secret": "TOKENKEEP_SECRET_FILE"}


def test_only_one_line_break_is_removed(folder: Path):
    """What else is in the file is the secret."""
    path = write(folder, f" {LONG} \n\n", "secret.txt")
    assert load(environ={"TOKENKEEP_SECRET_FILE": str(path)}).settings.secret == Secret(f" {LONG} \n")


def test_every_secret_may_be_in_a_file(folder: Path):
    """Database address and previous secrets too."""
    url = write(folder, "postgresql://user:password@host/name\n", "url.txt")
    previous = write(folder, f"{LONG}1,{LONG}2\n", "previous.txt")
    environ = {"TOKENKEEP_DATABASE_URL_FILE": str(url), "TOKENKEEP_PREVIOUS_SECRETS_FILE": str(previous)}
    settings = load(environ=environ).settings
    assert settings.database_url == Secret("postgresql://user:password@host/name")
    assert settings.previous_secrets == (Secret(LONG + "1"), Secret(LONG + "2"))


@pytest.mark.parametrize("reverse", [False, True])
def test_secret_and_its_file_are_not_both_set(folder: Path, reverse: bool):
    """Two values for one secret are refused: nobody should have to know which one counts."""
    path = write(folder, LONG, "secret.txt")
    variables = [("TOKENKEEP_SECRET", LONG + "x"), ("TOKENKEEP_SECRET_FILE", str(path))]
    environ = dict(reversed(variables) if reverse else variables)
    with pytest.raises(SettingsError, match="TOKENKEEP_SECRET and TOKENKEEP_SECRET_FILE are both set") as refusal:
        load(environ=environ)
    assert LONG not in str(refusal.value)


def test_secret_file_must_be_readable(folder: Path):
    """A file that is not there, is a folder, or is no text is refused by the variable that names it."""
    (folder / "binary").write_bytes(b"\xff\xfe\xff")
    for name in ("missing", ".", "binary"):
        with pytest.raises(SettingsError, match="TOKENKEEP_SECRET_FILE"):
            load(environ={"TOKENKEEP_SECRET_FILE": str(folder / name)})


@pytest.mark.parametrize(
    ("text", "environ"),
    [
        ("secret = 7777777", {}),
        ('secret = ["hunter2hunter2"]', {}),
        ("database_url = 7777777", {}),
        ('database_url = "mysql://u:hunter2@h/n"', {}),
        ("", {"TOKENKEEP_DATABASE_URL": "mysql://u:hunter2@h/n"}),
        ('secret = "hunter2', {}),
        ('secret = "hunter2"\nsecret = "hunter2"', {}),
    ],
)
def test_refusals_never_quote_a_secret(folder: Path, text: str, environ: dict[str, str]):
    """Whatever is wrong with a secret, the message does not show it."""
    write(folder, text)
    with pytest.raises(SettingsError) as refusal:
        load(environ=environ)
    assert "hunter2" not in str(refusal.value)
    assert "7777777" not in str(refusal.value)


@pytest.mark.parametrize(
    "name", ["SECRET", "PREVIOUS_SECRETS", "OPS_TOKEN", "DATABASE_URL", "ISSUER", "HOST", "DATA_DIR"]
)
def test_octets_that_are_no_text_are_refused(name: str):
    """What is not UTF-8 in the environment is refused by the setting's name, and neither repeated nor a crash later."""
    octets = b"hunter2-hunter2-\xff\xfe-hunter2-hunter2-hunter2"
    with pytest.raises(SettingsError, match=f"TOKENKEEP_{name}.*UTF-8") as refusal:
        load(environ={f"TOKENKEEP_{name}": octets.decode("utf-8", "surrogateescape")})
    assert "hunter2" not in str(refusal.value)
