// Where a node serves, as etcd's flags write it: lists of `http://host:port`, `https://host:port`, `unix://path`.

package struct ListenURL: Sendable, Equatable {
  package enum Place: Sendable, Equatable {
    case tcp(host: String, port: Int)
    /// A socket in the file system, at this path.
    case unix(path: String)
  }

  package let place: Place
  /// `https` or `unixs`.
  package let usesTLS: Bool

  package init(host: String, port: Int, usesTLS: Bool = false) {
    place = .tcp(host: host, port: port)
    self.usesTLS = usesTLS
  }

  /// The host that others know it by; nil for a socket in the file system.
  package var host: String? {
    if case .tcp(let host, _) = place { host } else { nil }
  }

  /// Reads one. Port 0 takes any free port; without a scheme it is `http`; an empty host is every address, as it is for
  /// etcd's other tools.
  /// - Throws: a reason that goes behind the flag's name.
  package init(parsing text: String) throws(NodeError) {
    let parts = text.split(separator: "://", maxSplits: 1, omittingEmptySubsequences: false)
    let scheme = parts.count == 2 ? String(parts[0]) : "http"
    let rest = parts[parts.count - 1]
    func refusal(_ why: String) -> NodeError {
      .configuration("\"\(text)\" is no URL to listen at: \(why). Write http://127.0.0.1:2379 or unix:///run/x.sock")
    }
    switch scheme {
    case "http", "https": place = try Self.tcp(rest.hasSuffix("/") ? rest.dropLast() : rest, refusal)
    case "unix", "unixs":
      // The longest path that the system takes for a socket.
      guard !rest.isEmpty, rest.utf8.count < 108 else { throw refusal("the path has to have 1 to 107 bytes") }
      place = .unix(path: String(rest))
    default: throw refusal("the scheme is http, https, unix or unixs, not \"\(scheme)\"")
    }
    usesTLS = scheme == "https" || scheme == "unixs"
  }

  private static func tcp(_ text: Substring, _ refusal: (String) -> NodeError) throws(NodeError) -> Place {
    guard let colon = text.lastIndex(of: ":"), let port = Int(text[text.index(after: colon)...]),
      (0...65_535).contains(port)
    else { throw refusal("it needs a port between 0 and 65535") }
    var host = text[..<colon]
    if host.hasPrefix("["), host.hasSuffix("]") {
      host = host.dropFirst().dropLast()
    } else if host.contains(":") {
      throw refusal("an IPv6 address stands in brackets")
    }
    guard !host.contains(where: { $0 == "/" || $0.isWhitespace }) else { throw refusal("it has no path and no spaces") }
    return .tcp(host: host.isEmpty ? "0.0.0.0" : host == "localhost" ? "127.0.0.1" : String(host), port: port)
  }

  /// Reads a list with commas.
  package static func list(parsing text: String) throws(NodeError) -> [ListenURL] {
    var all: [ListenURL] = []
    for part in text.split(separator: ",") {
      let url = try ListenURL(parsing: part.trimmingSpaces)
      guard !all.contains(where: { $0.place == url.place }) else { throw .configuration("\(part) is named twice") }
      all.append(url)
    }
    return all
  }

  package var description: String { description(port: nil) }

  /// - Parameter port: the one that was taken, where any was asked for.
  package func description(port chosen: Int?) -> String {
    switch place {
    case .tcp(let host, let port):
      "\(usesTLS ? "https" : "http")://\(host.contains(":") ? "[\(host)]" : host):\(port == 0 ? chosen ?? 0 : port)"
    case .unix(let path): "\(usesTLS ? "unixs" : "unix")://\(path)"
    }
  }
}

extension Substring {
  var trimmingSpaces: String {
    String(drop { $0 == " " }.reversed().drop { $0 == " " }.reversed())
  }
}

// MARK: - Peers

extension Peer {
  /// Reads etcd's `--initial-cluster`: `name=url` with commas. A name that comes several times is a member with several
  /// URLs.
  package static func list(parsing text: String) throws(NodeError) -> [Peer] {
    var peers: [Peer] = []
    for part in text.split(separator: ",") {
      let member = part.trimmingSpaces
      let parts = member.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
      guard parts.count == 2, !parts[0].isEmpty, let endpoint = PeerEndpoint(url: String(parts[1])) else {
        throw .configuration("\"\(member)\" is not of the form name=http://host:port")
      }
      let name = String(parts[0])
      if let place = peers.firstIndex(where: { $0.name == name }) {
        peers[place] = Peer(name: name, endpoints: peers[place].endpoints + [endpoint])
      } else {
        peers.append(Peer(name: name, endpoints: [endpoint]))
      }
    }
    for peer in peers where peer.endpoints.count > MemberAddress.maxURLs {
      throw .configuration("member \(peer.name) has more than \(MemberAddress.maxURLs) URLs")
    }
    guard !peers.isEmpty else { throw .configuration("it names no member") }
    return peers
  }
}
