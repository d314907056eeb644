// Owns how the address of a target is written: `host:port`, `http://host:port`, `https://host:port`, `[::1]:port`, a port of
// 2379 when none is given, as etcd's own tools take it.

package struct Endpoint: Sendable, Hashable, CustomStringConvertible {
  package static let defaultPort = 2379

  package let host: String
  package let port: Int

  package let usesTLS: Bool

  package var description: String {
    (usesTLS ? "https://" : "") + (host.contains(":") ? "[\(host)]:\(port)" : "\(host):\(port)")
  }

  package init(host: String, port: Int, usesTLS: Bool = false) {
    self.host = host
    self.port = port
    self.usesTLS = usesTLS
  }

  package init(parsing text: String) throws(WorkloadError) {
    func refusal(_ why: String) -> WorkloadError {
      WorkloadError(.badOptions, "\"\(text)\" is no endpoint: \(why). Write host:port, such as 127.0.0.1:2379.")
    }
    var rest = Substring(text)
    let scheme = ["http://", "https://"].first { text.hasPrefix($0) }
    rest = rest.dropFirst(scheme?.count ?? 0)
    let usesTLS = scheme == "https://"
    if rest.hasSuffix("/") { rest = rest.dropLast() }
    let (host, port) = Self.split(rest)
    guard !host.isEmpty else { throw refusal("it names no host") }
    guard !host.contains(where: { $0 == "/" || $0.isWhitespace }) else {
      throw refusal("a host has no such characters")
    }
    guard let port else {
      self.init(host: String(host), port: Self.defaultPort, usesTLS: usesTLS)
      return
    }
    guard let number = Int(port), (1...65_535).contains(number) else {
      throw refusal("its port is \"\(port)\", and a port is between 1 and 65535")
    }
    self.init(host: String(host), port: number, usesTLS: usesTLS)
  }

  /// An IPv6 address stands in brackets when a port follows it, and may stand without them when none does.
  private static func split(_ text: Substring) -> (host: Substring, port: Substring?) {
    if text.hasPrefix("["), let end = text.firstIndex(of: "]") {
      let host = text[text.index(after: text.startIndex)..<end]
      let after = text[text.index(after: end)...]
      return (host, after.isEmpty ? nil : after.hasPrefix(":") ? after.dropFirst() : after)
    }
    guard let colon = text.lastIndex(of: ":"), text.firstIndex(of: ":") == colon else { return (text, nil) }
    return (text[..<colon], text[text.index(after: colon)...])
  }
}
