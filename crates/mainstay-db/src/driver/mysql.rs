//! MySQL and MariaDB: connecting.

use std::str::FromStr;

use mainstay_core::Result;
use sqlx::mysql::MySqlConnectOptions;
use sqlx::{ConnectOptions, Connection as _, MySqlConnection};

use crate::connection::Raw;
use crate::url::{self, Shape};

const SHAPE: Shape = Shape {
    example: "mysql://USER:PASSWORD@HOST:3306/DATABASE",
    parameters: &[
        "sslmode",
        "ssl-mode",
        "sslca",
        "ssl-ca",
        "sslcert",
        "ssl-cert",
        "sslkey",
        "ssl-key",
        "charset",
        "collation",
        "statement-cache-capacity",
        "socket",
        "timezone",
        "time-zone",
    ],
};

#[derive(Debug)]
pub(crate) struct Driver {
    options: MySqlConnectOptions,
}

impl Driver {
    pub(crate) fn from_url(text: &str) -> Result<Self> {
        SHAPE.check(text)?;
        let text = text.replacen("mariadb:", "mysql:", 1);
        let options =
            MySqlConnectOptions::from_str(&text).map_err(|e| url::refused(&e, SHAPE.example))?;
        // Statements are observed by ourselves.
        Ok(Self { options: options.disable_statement_logging() })
    }

    pub(crate) fn place(&self) -> String {
        match self.options.get_socket() {
            Some(socket) => format!("MySQL at {}", socket.display()),
            None => format!("MySQL at {}:{}", self.options.get_host(), self.options.get_port()),
        }
    }

    pub(crate) async fn connect(&self) -> Result<Raw> {
        let opened = MySqlConnection::connect_with(&self.options).await;
        opened.map(Raw::MySql).map_err(|e| url::connect_error(e, &self.place()))
    }
}
