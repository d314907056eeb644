// The files: what is wrong with them is said, and when they change they are read anew.

import Foundation
import Logging
import NIOConcurrencyHelpers
import NIOCore
import Testing
import Wire

@Suite("Files of certificates", .timeLimit(.minutes(2)))
struct CertificateFileTests {
  private func failure(_ settings: TLSSettings) throws -> TLSError {
    try #require(#expect(throws: TLSError.self) { try settings.source(.server) })
  }

  @Test("what is wrong is said with the file's name")
  func reasons() throws {
    let world = try TLSWorld()
    var settings = world.server
    settings.certificateFile = world.files.path + "/absent.pem"
    var error = try failure(settings)
    #expect(error.code == .unreadableFile)
    #expect(error.description == "the certificate \(world.files.path)/absent.pem: No such file or directory")

    let noise = try world.files.write("no certificate", "noise.pem")
    settings.certificateFile = noise
    #expect(
      try failure(settings) == TLSError(.notPEM, "the certificate \(noise): the file holds no certificate in PEM"))
    settings = world.server
    settings.keyFile = noise
    #expect(try failure(settings).code == .notPEM)
    settings = world.server
    settings.trustedCAFile = noise
    #expect(try failure(settings).code == .notPEM)
    settings.keyFile = nil
    #expect(try failure(settings).code == .badSettings)

    settings = world.server
    settings.keyFile = try world.files.write(world.authority.issue("other"), "other").key
    error = try failure(settings)
    #expect(error.code == .keyMismatch)
    #expect(error.description.contains("does not belong to the certificate"))
  }

  @Test("a certificate is not taken before and after its time", arguments: [-120.0...(-60.0), 60.0...120.0])
  func dates(valid: ClosedRange<Double>) throws {
    let world = try TLSWorld()
    let paths = try world.files.write(world.authority.issue("server", validSeconds: valid), "server")
    let error = try failure(world.server)
    #expect(error.code == (valid.upperBound < 0 ? .expired : .notYetValid))
    #expect(error.description.contains(paths.certificate) && error.description.contains("Z"))
  }

  @Test("a key that everybody can read is warned of")
  func openKey() throws {
    let world = try TLSWorld()
    let log = KeptLog()
    _ = try TLSSource(world.server, .server, logger: log.logger)
    #expect(log.lines.isEmpty)
    let key = try #require(world.server.keyFile)
    try FileManager.default.setAttributes([.posixPermissions: 0o644], ofItemAtPath: key)
    _ = try TLSSource(world.server, .server, logger: log.logger)
    #expect(log.lines == ["every user of this machine can read the key \(key): chmod 600 \(key)"])
  }

  /// Connects until it works, as a client does that is told of a new authority.
  private func untilWorks(_ server: TestServer, _ settings: TLSSettings) async throws {
    while true {
      do {
        return try await server.echo(settings)
      } catch let status as RPCStatus where status.isTLSFailure {}
    }
  }

  @Test("renewed certificates are in force for the next connections, and those that are open go on")
  func renewal() async throws {
    let world = try TLSWorld()
    let renewed = try TestAuthority("the next authority")
    var newClient = world.client
    newClient.trustedCAFile = try world.files.write(renewed.pem, "next-ca.pem")
    let next = newClient
    try await withServer(tls: world.server.source(.server)) { server in
      let early = try await server.connect(tls: try world.client.source(.client))
      defer { early.close() }
      _ = try await server.failure(next)
      _ = try world.files.write(renewed.issue("server"), "server")
      try await self.untilWorks(server, next)
      _ = try await server.failure(world.client)
      #expect(try await early.call(TestPath.echo, ByteBuffer(string: "on")) == ByteBuffer(string: "on"))
    }
  }

  @Test("a server's trusted authorities can be changed while it runs")
  func renewedAuthority() async throws {
    let world = try TLSWorld()
    let next = try TestAuthority("the next authority")
    let callers = try world.files.write(world.authority.pem, "callers.pem")
    var settings = world.server
    settings.trustedCAFile = callers
    let (old, new) = (
      try world.client(world.authority.issue("a"), as: "old"), try world.client(next.issue("a"), as: "new")
    )
    try await withServer(tls: settings.source(.server)) { server in
      try await server.echo(old)
      _ = try world.files.write(next.pem, "callers.pem")
      try await self.untilWorks(server, new)
      _ = try await server.failure(old)
    }
  }

  @Test("a broken file changes nothing and is told of once, until it is mended")
  func brokenFile() async throws {
    let world = try TLSWorld()
    let log = KeptLog()
    let source = try TLSSource(world.server, .server, logger: log.logger)
    let good = try world.authority.issue("server")
    try await withServer(tls: source) { server in
      try world.files.write("half a certi", "server.pem")
      while log.lines.isEmpty { try await server.echo(world.client) }
      // The key of a pair whose certificate has not come yet is as good as broken.
      try world.files.write(good.pem, "server.pem")
      while log.lines.count < 2 { try await server.echo(world.client) }
      try world.files.write(good.key, "server.key")
      while log.lines.count < 3 { try await server.echo(world.client) }
      try await server.echo(world.client)
    }
    #expect(log.lines.count == 3, "\(log.lines)")
    #expect(log.lines[0].contains("the old ones stay in force") && log.lines[0].contains("holds no certificate in PEM"))
    #expect(log.lines[1].contains("does not belong to the certificate"))
    #expect(log.lines[2] == "certificates were read anew")
  }
}

/// What was logged, without metadata.
final class KeptLog: Sendable {
  private let kept = NIOLockedValueBox<[String]>([])

  var lines: [String] { kept.withLockedValue { $0 } }

  var logger: Logger {
    Logger(label: "test") { _ in Handler(kept: self.kept) }
  }

  private struct Handler: LogHandler {
    let kept: NIOLockedValueBox<[String]>
    var metadata: Logger.Metadata = [:]
    var logLevel = Logger.Level.info

    subscript(metadataKey key: String) -> Logger.Metadata.Value? {
      get { metadata[key] }
      set { metadata[key] = newValue }
    }

    func log(event: LogEvent) { kept.withLockedValue { $0.append("\(event.message)") } }
  }
}
