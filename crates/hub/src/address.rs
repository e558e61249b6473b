//! Web addresses: whom they are of, and where they lead.

use ureq::http::Uri;

/// Scheme, host and port of an address.
pub(crate) fn origin(url: &Uri) -> String {
    let host = url.authority().map_or("", |authority| authority.as_str().rsplit('@').next().unwrap_or(""));
    format!("{}://{host}", url.scheme_str().unwrap_or("http"))
}

/// An address as it may be shown, whatever it is: what stands before an `@` may be a password.
pub(crate) fn without_credentials(address: &str) -> String {
    let Some((before, rest)) = address.rsplit_once('@') else { return address.to_string() };
    let scheme = before.split_once("://").map_or(String::new(), |(scheme, _)| format!("{scheme}://"));
    format!("{scheme}***@{rest}")
}

pub(crate) fn same_origin(a: &Uri, b: &Uri) -> bool {
    let port = |uri: &Uri| uri.port_u16().unwrap_or(if uri.scheme_str() == Some("https") { 443 } else { 80 });
    a.scheme_str() == b.scheme_str() && a.host() == b.host() && port(a) == port(b)
}

/// Where a redirect leads.
pub(crate) fn redirect(from: &Uri, location: &str) -> Option<Uri> {
    if let Some(rest) = location.strip_prefix("//") {
        return format!("{}://{rest}", from.scheme_str()?).parse().ok();
    }
    if location.starts_with('/') {
        let mut parts = from.clone().into_parts();
        parts.path_and_query = location.parse().ok();
        return Uri::from_parts(parts).ok().filter(|_| location.is_ascii());
    }
    let url: Uri = location.parse().ok()?;
    matches!(url.scheme_str(), Some("http" | "https")).then_some(url)
}

/// A server on this machine is not behind a proxy, whatever the environment says.
pub(crate) fn is_this_machine(url: &Uri) -> bool {
    url.host().is_some_and(|host| host == "localhost" || host == "[::1]" || host.starts_with("127."))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn redirects_are_resolved() {
        let from: Uri = "https://hub.test:8443/a/b?c".parse().unwrap();
        let to = |location| redirect(&from, location).map(|uri| uri.to_string());
        assert_eq!(to("/x/y?z=1").as_deref(), Some("https://hub.test:8443/x/y?z=1"));
        assert_eq!(to("//cdn.test/x").as_deref(), Some("https://cdn.test/x"));
        assert_eq!(to("http://cdn.test/x").as_deref(), Some("http://cdn.test/x"));
        for wrong in ["", "x/y", "ftp://cdn.test/x", "file:///etc/passwd"] {
            assert_eq!(to(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn credentials_are_not_shown() {
        for (address, shown) in [
            ("https://hub.test/a", "https://hub.test/a"),
            ("http://user:pw@hub.test:80/a", "http://***@hub.test:80/a"),
            ("user:pw@hub.test", "***@hub.test"),
            ("http://user:p/w@x@hub.test", "http://***@hub.test"),
            ("ftp://user:pw@", "ftp://***@"),
            ("", ""),
        ] {
            assert_eq!(without_credentials(address), shown);
        }
    }

    #[test]
    fn an_origin_is_scheme_host_and_port() {
        let home: Uri = "https://hub.test".parse().unwrap();
        let same = |url: &str| same_origin(&url.parse().unwrap(), &home);
        assert!(same("https://hub.test/a") && same("https://hub.test:443/a"));
        for other in
            ["http://hub.test/a", "https://hub.test:444/a", "https://cdn.hub.test/", "https://hub.test.evil/"]
        {
            assert!(!same(other), "{other}");
        }
        assert_eq!(origin(&"https://user:secret@hub.test:1/a?b".parse().unwrap()), "https://hub.test:1");
    }
}
