// Lists of places to listen at, and members with several URLs.

import CoreNode
import Testing

@Suite("URLs on the command line")
struct ListenURLTests {
  @Test(
    "one of every form",
    arguments: [
      ("http://127.0.0.1:2379", ListenURL.Place.tcp(host: "127.0.0.1", port: 2379), false),
      ("http://[::1]:2379/", .tcp(host: "::1", port: 2379), false),
      ("127.0.0.1:0", .tcp(host: "127.0.0.1", port: 0), false),
      ("https://h:1", .tcp(host: "h", port: 1), true),
      ("http://localhost:1", .tcp(host: "127.0.0.1", port: 1), false),
      (":2379", .tcp(host: "0.0.0.0", port: 2379), false),
      ("unix:///run/p.sock", .unix(path: "/run/p.sock"), false),
      ("unixs://p.sock", .unix(path: "p.sock"), true),
    ])
  func forms(text: String, place: ListenURL.Place, usesTLS: Bool) throws {
    let url = try ListenURL(parsing: text)
    #expect(url.place == place && url.usesTLS == usesTLS)
  }

  @Test(
    "what is none is refused with the reason",
    arguments: [
      ("http://h", "a port"), ("http://h:x", "a port"), ("http://h:70000", "a port"), ("http://::1:2379", "brackets"),
      ("http://h/p:1", "no path"), ("ftp://h:1", "scheme"), ("unix://", "107 bytes"),
      ("unix:///" + String(repeating: "x", count: 120), "107 bytes"),
    ])
  func refused(text: String, reason: String) {
    let error = #expect(throws: NodeError.self) { try ListenURL(parsing: text) }
    #expect(error?.description.contains(reason) == true && error?.description.contains(text) == true)
  }

  @Test("lists stand with commas, spaces do not matter, and a place comes once")
  func lists() throws {
    let urls = try ListenURL.list(parsing: "http://127.0.0.1:1, http://[::1]:1,unix:///s")
    #expect(urls.map(\.description) == ["http://127.0.0.1:1", "http://[::1]:1", "unix:///s"])
    #expect(throws: NodeError.self) { try ListenURL.list(parsing: "http://h:1,http://h:1") }
  }

  @Test("a member with several URLs has its name several times")
  func members() throws {
    let peers = try Peer.list(parsing: "a=http://h:1,b=http://i:1,a=http://[::1]:2")
    #expect(peers.map(\.name) == ["a", "b"])
    #expect(peers[0].urls == ["http://h:1", "http://[::1]:2"] && peers[1].urls == ["http://i:1"])
    for text in ["", "a", "a=", "=http://h:1", "a=h:1", "a=http://h"] {
      #expect(throws: NodeError.self) { try Peer.list(parsing: text) }
    }
    #expect(throws: NodeError.self) {
      try Peer.list(parsing: (1...9).map { "a=http://h:\($0)" }.joined(separator: ","))
    }
  }
}
