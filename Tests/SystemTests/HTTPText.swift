// HTTP/1 by hand, for requests that no client would make: other host names, sockets in the file system, what comes back
// word by word.

import NIOCore
import NIOPosix
import Testing

enum HTTPText {
  /// The whole answer, head and body. `endpoint` is `host:port`, or the path of a socket.
  static func request(
    _ method: String, _ target: String, at endpoint: String, headers: [(String, String)] = [], body: String = ""
  ) async throws -> String {
    var lines = ["\(method) \(target) HTTP/1.1", "connection: close", "content-length: \(body.utf8.count)"]
    if !headers.contains(where: { $0.0 == "host" }) { lines.append("host: localhost") }
    lines += headers.map { "\($0): \($1)" }
    let text = lines.joined(separator: "\r\n") + "\r\n\r\n" + body
    let bootstrap = ClientBootstrap(group: MultiThreadedEventLoopGroup.singleton)
    let initializer: @Sendable (any Channel) -> EventLoopFuture<NIOAsyncChannel<ByteBuffer, ByteBuffer>> = { channel in
      channel.eventLoop.makeCompletedFuture {
        try NIOAsyncChannel<ByteBuffer, ByteBuffer>(wrappingChannelSynchronously: channel)
      }
    }
    let channel: NIOAsyncChannel<ByteBuffer, ByteBuffer>
    if endpoint.hasPrefix("/") {
      channel = try await bootstrap.connect(unixDomainSocketPath: endpoint, channelInitializer: initializer)
    } else {
      let colon = try #require(endpoint.lastIndex(of: ":"))
      let host = endpoint[..<colon].trimmingPrefix("[").prefix { $0 != "]" }
      let port = try #require(Int(endpoint[endpoint.index(after: colon)...]))
      channel = try await bootstrap.connect(host: String(host), port: port, channelInitializer: initializer)
    }
    return try await channel.executeThenClose { inbound, outbound in
      try await outbound.write(ByteBuffer(string: text))
      var answer = ByteBuffer()
      for try await var bytes in inbound { answer.writeBuffer(&bytes) }
      return String(buffer: answer)
    }
  }

  static func get(_ target: String, at endpoint: String, headers: [(String, String)] = []) async throws -> String {
    try await request("GET", target, at: endpoint, headers: headers)
  }
}
