// A server with TLS, its authority, and clients of several kinds.

import Logging
import NIOCore
import NIOPosix
import NIOSSL
import Testing
import Wire

/// An authority, a certificate of a server for `localhost` and 127.0.0.1, and where both are.
struct TLSWorld {
  let authority: TestAuthority
  let files: TestFiles
  let trustedCA: String

  init() throws {
    authority = try TestAuthority()
    files = try TestFiles()
    trustedCA = try files.write(authority.pem, "ca.pem")
    _ = try files.write(authority.issue("server"), "server")
  }

  private func path(_ name: String) -> String { files.path + "/" + name }

  var server: TLSSettings {
    TLSSettings(
      certificateFile: path("server.pem"), keyFile: path("server.key"),
      applicationProtocols: TLSSettings.serverProtocols)
  }

  /// A server that asks for certificates by this authority.
  var demandingServer: TLSSettings {
    var settings = server
    settings.trustedCAFile = trustedCA
    return settings
  }

  /// A client that trusts this authority and presents nothing.
  var client: TLSSettings {
    TLSSettings(trustedCAFile: trustedCA, applicationProtocols: TLSSettings.clientProtocols)
  }

  /// A client with a certificate.
  func client(_ certificate: TestCertificate, as name: String = "client") throws -> TLSSettings {
    var settings = client
    (settings.certificateFile, settings.keyFile) = try files.write(certificate, name)
    return settings
  }
}

extension TLSSettings {
  func source(_ role: Role) throws -> TLSSource { try TLSSource(self, role, logger: Logger(label: "test")) }
}

extension TestServer {
  /// One echo over a connection of its own.
  func echo(_ settings: TLSSettings, to host: String = "127.0.0.1") async throws {
    let connection = try await self.connect(to: host, tls: try settings.source(.client))
    defer { connection.close() }
    #expect(try await connection.call(TestPath.echo, ByteBuffer(string: "x")) == ByteBuffer(string: "x"))
  }

  /// Why a client could not speak TLS; a test fails where it could.
  func failure(_ settings: TLSSettings, to host: String = "127.0.0.1") async throws -> String {
    let source = try settings.source(.client)
    let error = await #expect(throws: RPCStatus.self) {
      let connection = try await self.connect(to: host, tls: source)
      defer { connection.close() }
      // With TLS 1.3 a client hears of a refusal only behind its own handshake.
      _ = try await connection.call(TestPath.echo, ByteBuffer())
    }
    let status = try #require(error)
    #expect(status.isTLSFailure, "\(status)")
    return status.message
  }
}

/// Connects with the library's own client, for what ours never does.
func handshake(_ configuration: TLSConfiguration, port: Int) async throws {
  let context = try NIOSSLContext(configuration: configuration)
  let done = testGroup.next().makePromise(of: Void.self)
  let channel = try await ClientBootstrap(group: testGroup)
    .channelInitializer { channel in
      channel.eventLoop.makeCompletedFuture {
        let handler = try NIOSSLClientHandler(context: context, serverHostname: "localhost")
        try channel.pipeline.syncOperations.addHandlers([handler, HandshakeWitness(done)])
      }
    }
    .connect(host: "127.0.0.1", port: port).get()
  defer { channel.close(promise: nil) }
  try await done.futureResult.get()
}

private final class HandshakeWitness: ChannelInboundHandler {
  typealias InboundIn = ByteBuffer
  private let done: EventLoopPromise<Void>

  init(_ done: EventLoopPromise<Void>) { self.done = done }

  func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) { self.done.succeed() }
  func errorCaught(context: ChannelHandlerContext, error: any Error) { self.done.fail(error) }
  func channelInactive(context: ChannelHandlerContext) { self.done.fail(ChannelError.eof) }
}

/// Sends bytes over plain TCP and reads until the other end closes.
func plainExchange(_ bytes: ByteBuffer, port: Int) async throws -> String {
  let channel = try await ClientBootstrap(group: testGroup)
    .connect(host: "127.0.0.1", port: port) { channel in
      channel.eventLoop.makeCompletedFuture {
        try NIOAsyncChannel<ByteBuffer, ByteBuffer>(wrappingChannelSynchronously: channel)
      }
    }
  return try await channel.executeThenClose { inbound, outbound in
    if bytes.readableBytes > 0 { try await outbound.write(bytes) }
    var answer = ByteBuffer()
    for try await var bytes in inbound { answer.writeBuffer(&bytes) }
    return String(buffer: answer)
  }
}

/// Accepts and says nothing.
func silentListener() async throws -> any Channel {
  try await ServerBootstrap(group: testGroup).bind(host: "127.0.0.1", port: 0).get()
}
