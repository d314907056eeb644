// The HTTP clients of the process: one for plain text and for what every system trusts, and one for each set of certificates.
//
// They live as long as the process: to make one is dear, and their connections are worth keeping.

package import AsyncHTTPClient
import Synchronization
import Wire

package enum HTTPClients {
  /// The one that everybody shares where nothing was said of certificates.
  package static let plain = HTTPClient(eventLoopGroupProvider: .singleton, configuration: configuration())
  private static let known = Mutex<[TLSOptions: HTTPClient]>([:])

  /// - Throws: `TLSError` where a file cannot be used.
  package static func client(usesTLS: Bool, _ tls: TLSOptions) throws -> HTTPClient {
    guard usesTLS, tls != TLSOptions() else { return plain }
    return try known.withLock { clients in
      if let known = clients[tls] { return known }
      var configuration = configuration()
      var settings = tls.settings
      settings.applicationProtocols = []
      configuration.tlsConfiguration = try settings.clientConfiguration()
      let made = HTTPClient(eventLoopGroupProvider: .singleton, configuration: configuration)
      clients[tls] = made
      return made
    }
  }

  /// A server that is not there is reported at once. The library's own way is to go on connecting until the request's time
  /// is over, and then to say that the time was over.
  private static func configuration() -> HTTPClient.Configuration {
    var configuration = HTTPClient.Configuration()
    configuration.connectionPool.retryConnectionEstablishment = false
    return configuration
  }
}
