//! Who the client is, whatever a caller writes.

use std::time::Duration;

use axum::Router;
use axum::http::HeaderMap;
use axum::routing::get;
use mainstay_http::{ClientAddress, Key, TrustedProxies};

use crate::support::{allowed, ask, by, request, send};

fn app(proxies: TrustedProxies) -> Router {
    let tell = async |ClientAddress(address): ClientAddress| address.to_string();
    Router::new().route("/", get(tell)).layer(proxies)
}

async fn client(proxies: &TrustedProxies, headers: &[(&str, &str)]) -> String {
    ask(&app(proxies.clone()), "GET /", headers).await.text
}

const XFF: &str = "x-forwarded-for";

#[tokio::test]
async fn without_trusted_proxies_headers_say_nothing() {
    let headers = [(XFF, "203.0.113.7"), ("forwarded", "for=203.0.113.7")];
    assert_eq!(client(&TrustedProxies::none(), &headers).await, "192.0.2.1");
}

#[tokio::test]
async fn a_forged_entry_never_wins() {
    let one = TrustedProxies::hops(1);
    assert_eq!(client(&one, &[(XFF, "198.51.100.9, 203.0.113.7")]).await, "203.0.113.7");
    assert_eq!(client(&one, &[(XFF, "198.51.100.9"), (XFF, "203.0.113.7")]).await, "203.0.113.7");
    assert_eq!(client(&one, &[(XFF, "127.0.0.1, 10.0.0.1, 203.0.113.7")]).await, "203.0.113.7");
    // The other header is the caller's own.
    let both = [("forwarded", "for=198.51.100.9"), (XFF, "203.0.113.7")];
    assert_eq!(client(&one, &both).await, "203.0.113.7");
    assert_eq!(client(&one.clone().forwarded(), &both).await, "198.51.100.9");
    let open = [("forwarded", r#"for="198.51.100.9, for=203.0.113.7;proto=https"#)];
    assert_eq!(client(&one.forwarded(), &open).await, "203.0.113.7");
}

#[tokio::test]
async fn hops_are_counted_from_the_right() {
    let list = [(XFF, "198.51.100.9, 203.0.113.7, 10.0.0.2")];
    assert_eq!(client(&TrustedProxies::hops(1), &list).await, "10.0.0.2");
    assert_eq!(client(&TrustedProxies::hops(2), &list).await, "203.0.113.7");
    // Fewer entries than proxies: the furthest that there is.
    assert_eq!(client(&TrustedProxies::hops(2), &[(XFF, "10.0.0.2")]).await, "10.0.0.2");
    assert_eq!(client(&TrustedProxies::hops(2), &[]).await, "192.0.2.1");
}

#[tokio::test]
async fn ranges_trust_who_is_in_them_and_nobody_else() {
    let ranges = TrustedProxies::ranges(["192.0.2.0/24", "10.0.0.0/8", "fd00::/8"]).unwrap();
    assert_eq!(
        client(&ranges, &[(XFF, "198.51.100.9, 203.0.113.7, 10.0.0.2")]).await,
        "203.0.113.7"
    );
    assert_eq!(
        client(&ranges, &[(XFF, "203.0.113.7, fd00::1, ::ffff:10.0.0.2")]).await,
        "203.0.113.7"
    );
    // Who comes from elsewhere is the client, whatever it writes.
    let direct = [(XFF, "198.51.100.9"), ("peer", "203.0.113.200:1")];
    assert_eq!(client(&ranges, &direct).await, "203.0.113.200");
    assert_eq!(client(&ranges, &[(XFF, "10.0.0.9, 10.0.0.2")]).await, "10.0.0.9");
    let wrong = TrustedProxies::ranges(["10.0.0.0/33"]).unwrap_err();
    assert_eq!(wrong.code().as_str(), "HTTP-004");
    assert!(wrong.report().contains("10.0.0.0/33"));
}

#[tokio::test]
async fn ports_brackets_and_mapped_addresses_are_understood() {
    let one = TrustedProxies::hops(1);
    for (written, expected) in [
        ("203.0.113.7:5678", "203.0.113.7"),
        ("[2001:db8::7]:443", "2001:db8::7"),
        ("2001:db8::7", "2001:db8::7"),
        ("::ffff:203.0.113.7", "203.0.113.7"),
        // No address: the proxy itself is as far as anybody can see.
        ("unknown", "192.0.2.1"),
        ("198.51.100.9, nobody", "192.0.2.1"),
        ("", "192.0.2.1"),
    ] {
        assert_eq!(client(&one, &[(XFF, written)]).await, expected, "{written}");
    }
    assert_eq!(
        client(&TrustedProxies::none(), &[("peer", "[::ffff:203.0.113.7]:1")]).await,
        "203.0.113.7"
    );
    let alone = Router::new()
        .route("/", get(async |ClientAddress(address): ClientAddress| address.to_string()));
    assert_eq!(
        ask(&alone, "GET /", &[("peer", "[::ffff:203.0.113.7]:1")]).await.text,
        "203.0.113.7"
    );
    let forwarded = [("forwarded", r#"for=1.1.1.1, For="[2001:db8:cafe::17]:4711";proto=http"#)];
    assert_eq!(client(&one.forwarded(), &forwarded).await, "2001:db8:cafe::17");
}

/// The entries that a caller adds cost it more than us: only the trusted ones are read.
#[tokio::test]
async fn ten_thousand_entries_are_no_work() {
    let many = "198.51.100.9, ".repeat(10_000) + "203.0.113.7";
    let trusted = "10.0.0.1, ".repeat(10_000) + "10.0.0.2";
    let mut fields = HeaderMap::new();
    for n in 0..10_000 {
        fields.append(XFF, format!("198.51.100.{}", n % 256).parse().unwrap());
    }
    fields.append(XFF, "203.0.113.7".parse().unwrap());
    let peer = Some([10, 0, 0, 1].into());
    let client = Some([203, 0, 113, 7].into());
    for proxies in [TrustedProxies::hops(1), TrustedProxies::ranges(["10.0.0.0/8"]).unwrap()] {
        let mut headers = HeaderMap::new();
        headers.insert(XFF, many.parse().unwrap());
        assert_eq!(proxies.client(&headers, peer), client);
        assert_eq!(proxies.client(&fields, peer), client);
        // A chain of trusted ones alone ends as well, and so does one endless entry.
        headers.insert(XFF, trusted.parse().unwrap());
        assert!(proxies.client(&headers, peer).is_some());
        headers.insert(XFF, "9".repeat(1 << 20).parse().unwrap());
        assert_eq!(proxies.client(&headers, peer), peer);
    }
}

#[tokio::test]
async fn an_unknown_client_is_an_error_and_a_socket_without_address_a_proxy() {
    let bare = |headers: &[(&str, &str)]| {
        let mut request = request("GET /", headers);
        request.extensions_mut().clear();
        request
    };
    let answer = send(&app(TrustedProxies::none()), bare(&[])).await;
    assert_eq!((answer.status.as_u16(), &answer.json()["code"]), (500, &"HTTP-004".into()));
    let behind_a_unix_socket = bare(&[(XFF, "198.51.100.9, 203.0.113.7")]);
    assert_eq!(send(&app(TrustedProxies::hops(1)), behind_a_unix_socket).await.text, "203.0.113.7");
}

#[tokio::test]
async fn addresses_of_one_ipv6_network_share_a_bucket() {
    let (layer, hand) = by(&["api: 3/min"], Key::client());
    let app = crate::support::app().layer(layer.clone());
    let mut passed = 0;
    for n in 0..10 {
        let peer = format!("[2001:db8:1:2{n:02x}::{n}]:1");
        passed += allowed(&app, 1, "GET /", &[("peer", &peer)]).await;
    }
    assert_eq!(passed, 3, "a new address within the /56 must gain nothing");
    assert_eq!(allowed(&app, 5, "GET /", &[("peer", "[2001:db8:1:300::1]:1")]).await, 3);
    hand.advance(Duration::from_secs(60));
    let narrow = crate::support::app().layer(layer.ipv6_prefix(64));
    for n in 0..4 {
        let peer = format!("[2001:db8:1:2{n:02x}::1]:1");
        assert_eq!(allowed(&narrow, 1, "GET /", &[("peer", &peer)]).await, 1);
    }
}
