// How the address of a server is written: `host:port`, `http://host:port`, `https://host:port`, `[::1]:port`, with a
// default port when none is given, as etcd's own tools take it.

/// The address of a core node or of a gateway.
public struct Endpoint: Sendable, Hashable, CustomStringConvertible {
  /// etcd's client port.
  public static let defaultPort = 2379

  /// A name or an address; an IPv6 address without brackets.
  public let host: String
  /// Between 0 and 65535; 0 only where any free port will do.
  public let port: Int
  /// Whether TLS is spoken there: `https://`.
  public let usesTLS: Bool

  /// `host:port`, with brackets around an IPv6 address, and with `https://` in front where TLS is spoken.
  public var description: String { (usesTLS ? "https://" : "") + authority }

  /// With its scheme.
  public var url: String { (usesTLS ? "https://" : "http://") + authority }

  private var authority: String { host.contains(":") ? "[\(host)]:\(port)" : "\(host):\(port)" }

  /// Takes the parts as they are.
  public init(host: String, port: Int, usesTLS: Bool = false) {
    self.host = host
    self.port = port
    self.usesTLS = usesTLS
  }

  /// Reads an endpoint.
  /// - Throws: `ClientError` with code `invalidArgument`, which says what is wrong with the text.
  public init(parsing text: String, defaultPort: Int = Self.defaultPort) throws(ClientError) {
    func refusal(_ why: String) -> ClientError {
      ClientError(.invalidArgument, "\"\(text)\" is no endpoint: \(why). Write host:port, such as 127.0.0.1:2379.")
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
      self.init(host: String(host), port: defaultPort, usesTLS: usesTLS)
      return
    }
    guard let number = Int(port), (0...65_535).contains(number) else {
      throw refusal("its port is \"\(port)\", and a port is between 0 and 65535")
    }
    self.init(host: String(host), port: number, usesTLS: usesTLS)
  }

  /// Reads a list with commas.
  public static func list(parsing text: String) throws(ClientError) -> [Endpoint] {
    var endpoints: [Endpoint] = []
    for part in text.split(separator: ",") { endpoints.append(try Endpoint(parsing: String(part))) }
    guard !endpoints.isEmpty else { throw ClientError(.invalidArgument, "no endpoint was given; one is needed") }
    return endpoints
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
