//! Requests in terms of a cluster's authorisation: verb, group, resource, namespace and name.

use std::collections::BTreeMap;

/// A request.
#[derive(Debug, Clone)]
pub struct Asked {
    pub verb: &'static str,
    pub group: String,
    /// With its subresource after a slash.
    pub resource: String,
    pub namespace: Option<String>,
    pub name: Option<String>,
    pub query: BTreeMap<String, String>,
    /// True when only metadata is requested.
    pub is_partial: bool,
}

impl Asked {
    /// Parses a request; `None` when it does not have the API's form.
    pub fn parse(method: &str, path: &str, query: &str, accept: &str) -> Option<Self> {
        let query: BTreeMap<_, _> = query
            .split('&')
            .filter(|part| !part.is_empty())
            .map(|part| part.split_once('=').unwrap_or((part, "")))
            .map(|(key, value)| (decoded(key), decoded(value)))
            .collect();
        let mut parts = path.split('/').filter(|part| !part.is_empty());
        let group = match parts.next()? {
            "api" => String::new(),
            "apis" => parts.next()?.to_owned(),
            _ => return None,
        };
        let _version = parts.next()?;
        let mut rest: Vec<&str> = parts.collect();
        let mut namespace = None;
        if rest.first() == Some(&"namespaces") && rest.len() > 2 {
            namespace = Some(rest[1].to_owned());
            rest.drain(..2);
        }
        let mut rest = rest.into_iter();
        let resource = rest.next()?.to_owned();
        let name = rest.next().map(str::to_owned);
        let resource = rest.next().map_or(resource.clone(), |sub| format!("{resource}/{sub}"));
        let watches = matches!(query.get("watch").map(String::as_str), Some("true" | "1"));
        let verb = match (method, &name) {
            ("GET", Some(_)) => "get",
            ("GET", None) if watches => "watch",
            ("GET", None) => "list",
            ("POST", _) => "create",
            ("PATCH", _) => "patch",
            ("PUT", _) => "update",
            ("DELETE", Some(_)) => "delete",
            ("DELETE", None) => "deletecollection",
            _ => return None,
        };
        Some(Self {
            verb,
            group,
            resource,
            namespace,
            name,
            query,
            is_partial: accept.contains("PartialObjectMetadata"),
        })
    }

    /// A parameter, or an empty text.
    pub fn parameter(&self, name: &str) -> &str {
        self.query.get(name).map_or("", String::as_str)
    }

    pub fn is_dry_run(&self) -> bool {
        self.parameter("dryRun") == "All"
    }

    /// True when the request writes, dry runs included.
    pub fn writes(&self) -> bool {
        !matches!(self.verb, "get" | "list" | "watch") && self.resource != "selfsubjectaccessreviews"
    }
}

fn decoded(text: &str) -> String {
    let mut bytes = text.bytes();
    let mut plain = Vec::new();
    while let Some(byte) = bytes.next() {
        plain.push(match byte {
            b'%' => {
                let digits = [bytes.next().unwrap_or(b'0'), bytes.next().unwrap_or(b'0')];
                u8::from_str_radix(std::str::from_utf8(&digits).unwrap(), 16).unwrap()
            }
            b'+' => b' ',
            other => other,
        });
    }
    String::from_utf8(plain).unwrap()
}
