"""All the server may be told: defaults, then a TOML file, then `NEARFIELD_...` variables, then arguments."""

import os
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field
from pydantic_settings import (
    BaseSettings,
    InitSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

Seconds = Annotated[float, Field(gt=0)]
Bytes = Annotated[int, Field(gt=0)]
Count = Annotated[int, Field(ge=1)]

CONFIG_VARIABLE = "NEARFIELD_CONFIG"
"""Environment variable naming the TOML file, where no `config` argument does."""


class Settings(BaseSettings):
    """The server's configuration. `Settings(port=7000)` overrides the environment, which overrides the file.

    Raises:
        pydantic.ValidationError: an unknown name in the file or the arguments, or a value outside its limits.
    """

    model_config = SettingsConfigDict(env_prefix="NEARFIELD_", extra="forbid", frozen=True)

    config: Path | None = Field(None, description="TOML file with any of these settings")
    data: Path = Field(Path("nearfield-data"), description="data directory; created if it is not there")
    host: str = Field("127.0.0.1", description="address to listen on; 0.0.0.0 for all")
    port: int = Field(6333, ge=0, le=65535, description="port to listen on; 0 for any free one")
    api_key: str | None = Field(None, min_length=1, description="key every request must carry, if set")
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        "info", description="least severe log shown"
    )
    access_log: bool = Field(False, description="write one JSON line per request")

    threads: Count = Field(os.cpu_count() or 1, description="searches that run at once beside the event loop")
    max_concurrent: Count = Field(512, description="requests in progress at which the next gets 429")
    body_bytes_max: Bytes = Field(32 * 2**20, description="largest JSON request body, bytes")
    bulk_body_bytes_max: Bytes = Field(512 * 2**20, description="largest bulk request body, bytes")
    waiting_body_bytes_max: Bytes = Field(
        2**30, description="bytes of all request bodies held in memory at once"
    )

    request_timeout_s: Seconds = Field(60, description="seconds after which a request is answered 408")
    header_timeout_s: Seconds = Field(
        20, description="seconds a connection may take to send a request's head"
    )
    keep_alive_timeout_s: Count = Field(75, description="seconds an idle connection is kept")
    shutdown_timeout_s: Count = Field(
        20, description="seconds requests in progress get to finish at shutdown"
    )

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Arguments first, then the environment, then the TOML file that either of them names."""
        arguments: dict[str, Any] = (
            init_settings.init_kwargs if isinstance(init_settings, InitSettingsSource) else {}
        )
        path = arguments.get("config") or os.environ.get(CONFIG_VARIABLE)
        if not path:
            return init_settings, env_settings
        if not Path(path).is_file():
            raise FileNotFoundError(f"there is no configuration file {path}")
        return init_settings, env_settings, TomlConfigSettingsSource(settings_cls, Path(path))
