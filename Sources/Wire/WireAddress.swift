// Where a server listens.

/// A port of one of this machine's addresses, or a socket in the file system.
package enum WireAddress: Sendable, Equatable, CustomStringConvertible {
  /// Port 0 takes any free port.
  case tcp(host: String, port: Int)
  /// A socket that is left over from an earlier run is replaced; any other file is not.
  case unix(path: String)

  package var description: String {
    switch self {
    case .tcp(let host, let port): "\(host):\(port)"
    case .unix(let path): path
    }
  }
}
