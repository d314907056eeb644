// HTTP clients that speak TLS with certificates of their own.

import AsyncHTTPClient
import Synchronization
import Wire

enum SecureClients {
  /// They live as long as the process: to make one is dear, and their connections are worth keeping.
  private static let known = Mutex<[TLSOptions: HTTPClient]>([:])

  /// The one that everybody shares where nothing was said of certificates.
  /// - Throws: `TLSError` where a file cannot be used.
  static func client(usesTLS: Bool, _ tls: TLSOptions) throws -> HTTPClient {
    guard usesTLS, tls != TLSOptions() else { return .shared }
    return try known.withLock { clients in
      if let known = clients[tls] { return known }
      var settings = tls.settings
      settings.applicationProtocols = []
      let configuration = HTTPClient.Configuration(tlsConfiguration: try settings.clientConfiguration())
      let made = HTTPClient(eventLoopGroupProvider: .singleton, configuration: configuration)
      clients[tls] = made
      return made
    }
  }
}
