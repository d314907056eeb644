// A connection to a node of its own, for calls that no client of ours makes.

import Client
import NIOPosix
import Wire

/// Connects to `host:port`, calls `body` and closes.
func withConnection<T>(_ text: String, _ body: (WireConnection) async throws -> T) async throws -> T {
  let endpoint = try Endpoint(parsing: text)
  let connection = try await WireConnection.connect(
    host: endpoint.host, port: endpoint.port, on: MultiThreadedEventLoopGroup.singleton.next()
  ).get()
  defer { connection.close() }
  return try await body(connection)
}
