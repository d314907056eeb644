// What members know of each other beyond their ids: a name for people and the URLs at which peers are served. It travels
// in `Member.address`, through the log and in snapshots, so its bytes have a version of their own.
//
//   format u8 = 1 · name · count u8 · that many URLs; a text is its length u16, little-endian, and UTF-8

import Crypto
import RaftCore

package struct MemberAddress: Sendable, Equatable {
  static let format: UInt8 = 1
  static let maxURLs = 8
  static let maxTextBytes = 255

  /// Empty until the member has started for the first time and said what it is called.
  package var name: String
  package var peerURLs: [String]

  package init(name: String, peerURLs: [String]) {
    self.name = name
    self.peerURLs = peerURLs
  }

  package func encoded() -> [UInt8] {
    precondition(peerURLs.count <= Self.maxURLs, "a member has \(peerURLs.count) URLs")
    var bytes = [Self.format]
    func append(_ text: String) {
      let utf8 = Array(text.utf8)
      precondition(utf8.count <= Self.maxTextBytes, "a name or a URL has \(utf8.count) bytes")
      bytes += [UInt8(utf8.count & 0xff), UInt8(utf8.count >> 8)] + utf8
    }
    append(name)
    bytes.append(UInt8(peerURLs.count))
    for url in peerURLs { append(url) }
    return bytes
  }

  /// Nil for bytes that are no address; the members of tests and simulations have none.
  package init?(_ bytes: [UInt8]) {
    var rest = bytes[...]
    func text() -> String? {
      guard rest.count >= 2 else { return nil }
      let count = Int(rest[rest.startIndex]) | Int(rest[rest.startIndex + 1]) << 8
      rest = rest.dropFirst(2)
      guard count <= Self.maxTextBytes, rest.count >= count else { return nil }
      defer { rest = rest.dropFirst(count) }
      return String(validating: rest.prefix(count), as: UTF8.self)
    }
    guard rest.popFirst() == Self.format, let name = text(), let count = rest.popFirst(), count <= Self.maxURLs else {
      return nil
    }
    var urls: [String] = []
    for _ in 0..<count {
      guard let url = text() else { return nil }
      urls.append(url)
    }
    guard rest.isEmpty else { return nil }
    self.init(name: name, peerURLs: urls)
  }
}

/// Where a peer is served.
package struct PeerEndpoint: Sendable, Equatable {
  package let host: String
  package let port: Int
  package let usesTLS: Bool

  package init(host: String, port: Int, usesTLS: Bool = false) {
    self.host = host
    self.port = port
    self.usesTLS = usesTLS
  }

  package var url: String { "\(usesTLS ? "https" : "http")://\(host.contains(":") ? "[\(host)]" : host):\(port)" }

  /// Reads `http://host:port` or `https://host:port`, with brackets around an IPv6 address. etcd wants a port and no path,
  /// and so does this.
  package init?(url: String) {
    guard url.utf8.count <= MemberAddress.maxTextBytes,
      let scheme = ["http://", "https://"].first(where: url.hasPrefix)
    else { return nil }
    var rest = url.dropFirst(scheme.count)
    if rest.hasSuffix("/") { rest = rest.dropLast() }
    guard let colon = rest.lastIndex(of: ":"), let port = Int(rest[rest.index(after: colon)...]),
      (1...65_535).contains(port)
    else { return nil }
    var host = rest[..<colon]
    if host.hasPrefix("["), host.hasSuffix("]") {
      host = host.dropFirst().dropLast()
    } else if host.contains(":") {
      return nil
    }
    guard !host.isEmpty, !host.contains(where: { $0 == "/" || $0.isWhitespace }) else { return nil }
    self.host = String(host)
    self.port = port
    usesTLS = scheme == "https://"
  }
}

extension Member {
  var peerAddress: MemberAddress? { MemberAddress(address) }
  var name: String { peerAddress?.name ?? "" }

  /// How logs and errors speak of it.
  var label: String { name.isEmpty ? String(id.rawValue, radix: 16) : "\(name) (\(String(id.rawValue, radix: 16)))" }
}

enum Digest {
  /// The first eight bytes of SHA-256 of the parts; never 0, which stands for "none".
  static func of(_ parts: [String]) -> UInt64 {
    var hash = SHA256()
    for part in parts {
      hash.update(data: Array(part.utf8))
      hash.update(data: [0])
    }
    let first = hash.finalize().prefix(8).reduce(UInt64(0)) { $0 << 8 | UInt64($1) }
    return max(first, 1)
  }

  /// The id of a member that is added. As in etcd it depends on the time, here on a random number, so that the same URLs
  /// added again make another member: an id is never given twice.
  static func newMember(peerURLs: [String], clusterID: UInt64) -> NodeID {
    NodeID(
      of(peerURLs.sorted() + [String(clusterID, radix: 16), String(UInt64.random(in: 0...UInt64.max), radix: 16)]))
  }
}
