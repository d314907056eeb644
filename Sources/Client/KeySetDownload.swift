// A key set from wherever it is published.

import AsyncHTTPClient
import Foundation
import NIOCore
import NIOFoundationCompat
import Wire

/// Fetching a JWKS by its address, such as `http://127.0.0.1:2379/.well-known/jwks.json`.
public enum KeySetDownload {
  private static let largestBytes = 1 << 20

  /// - Parameter tls: how TLS is spoken where the address begins with `https`.
  /// - Throws: `ClientError` with code `unavailable` when nothing, or no 200, is answered.
  public static func fetch(_ url: String, tls: TLSOptions = TLSOptions()) async throws(ClientError) -> String {
    do {
      let client = try HTTPClients.client(usesTLS: url.hasPrefix("https://"), tls)
      let response = try await client.execute(HTTPClientRequest(url: url), timeout: .seconds(10))
      let body = try await response.body.collect(upTo: largestBytes)
      guard response.status == .ok else {
        throw ClientError(.unavailable, "\(url) answered \(response.status.code)")
      }
      return String(buffer: body)
    } catch let error as ClientError {
      throw error
    } catch {
      throw ClientError(.unavailable, "the key set at \(url) could not be fetched: \(WireConnection.cause(of: error))")
    }
  }
}
