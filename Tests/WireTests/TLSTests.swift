// TLS between our own two ends, and with what is no client of ours.

import NIOCore
import NIOSSL
import Testing
import Wire

@Suite("TLS", .timeLimit(.minutes(2)))
struct TLSTests {
  @Test("calls and streams work as in plain text", arguments: ["127.0.0.1", "localhost"])
  func works(host: String) async throws {
    let world = try TLSWorld()
    try await withServer(tls: world.server.source(.server)) { server in
      let connection = try await server.connect(to: host, tls: try world.client.source(.client))
      defer { connection.close() }
      let large = ByteBuffer(repeating: 7, count: 1 << 20)
      #expect(try await connection.call(TestPath.echo, large) == large)
      let received = Received()
      let stream = connection.openStream(TestPath.echoStream, handler: received)
      stream.send(large)
      #expect(try await received.events.next() == .message(large))
      stream.halfClose()
      #expect(try await received.events.next() == .closed(.ok))
    }
  }

  @Test("a call knows the common name of a certificate that was verified, and of no other")
  func commonName() async throws {
    let world = try TLSWorld()
    let settings = try world.client(world.authority.issue("alice"))
    try await withServer(tls: world.demandingServer.source(.server)) { server in
      let connection = try await server.connect(tls: try settings.source(.client))
      defer { connection.close() }
      #expect(try await connection.call(TestPath.caller, ByteBuffer()) == ByteBuffer(string: "alice"))
    }
    // A server that does not ask for certificates does not look at one.
    try await withServer(tls: world.server.source(.server)) { server in
      let connection = try await server.connect(tls: try settings.source(.client))
      defer { connection.close() }
      #expect(try await connection.call(TestPath.caller, ByteBuffer()) == ByteBuffer(string: "nobody"))
    }
    try await withServer { server in
      let connection = try await server.connect()
      defer { connection.close() }
      #expect(try await connection.call(TestPath.caller, ByteBuffer()) == ByteBuffer(string: "nobody"))
    }
  }

  @Test("a server whose certificate another authority signed is not talked to, unless the client is told to")
  func foreignAuthority() async throws {
    let world = try TLSWorld()
    let other = try TLSWorld()
    try await withServer(tls: world.server.source(.server)) { server in
      #expect(try await server.failure(other.client).contains("is not signed by an authority that is trusted here"))
      var reckless = other.client
      reckless.skipsVerification = true
      try await server.echo(reckless)
    }
  }

  @Test("a server whose certificate is for another host is not talked to")
  func otherHost() async throws {
    let world = try TLSWorld()
    let elsewhere = try world.authority.issue("server", hosts: ["db.example.com"], addresses: [[10, 0, 0, 1]])
    _ = try world.files.write(elsewhere, "server")
    try await withServer(tls: world.server.source(.server)) { server in
      for host in ["127.0.0.1", "localhost"] {
        let message = try await server.failure(world.client, to: host)
        #expect(message.contains("is valid for other hosts"), "\(message)")
      }
    }
  }

  @Test("a server that asks for certificates takes those of its authority, and says what is wrong with others")
  func clientCertificates() async throws {
    let world = try TLSWorld()
    let other = try TestAuthority("another authority")
    try await withServer(tls: world.demandingServer.source(.server)) { server in
      try await server.echo(world.client(world.authority.issue("alice")))
      #expect(try await server.failure(world.client).contains("asks for a client certificate, and none was given"))
      let foreign = try world.client(other.issue("alice"), as: "foreign")
      #expect(try await server.failure(foreign).contains("does not trust the authority"))
    }
  }

  @Test("a server may ask for a common name, or for a host")
  func allowedNames() async throws {
    let world = try TLSWorld()
    var byName = world.demandingServer
    byName.allowedCommonName = "alice"
    try await withServer(tls: byName.source(.server)) { server in
      try await server.echo(world.client(world.authority.issue("alice")))
      await #expect(throws: (any Error).self) { try await server.echo(world.client(world.authority.issue("bob"))) }
    }
    for (allowed, hosts, isLetIn) in [
      ("node.example.com", ["node.example.com"], true), ("node.example.com", ["*.example.com"], true),
      ("a.b.example.com", ["*.example.com"], false), ("node.example.com", ["localhost"], false),
      ("127.0.0.1", [], true), ("10.0.0.1", ["10.0.0.1"], false),
    ] {
      var byHost = world.demandingServer
      byHost.allowedHostname = allowed
      let settings = try world.client(world.authority.issue("node", hosts: hosts))
      try await withServer(tls: byHost.source(.server)) { server in
        if isLetIn { return try await server.echo(settings) }
        await #expect(throws: (any Error).self, "\(allowed) \(hosts)") { try await server.echo(settings) }
      }
    }
  }

  @Test("a certificate that expires while the server runs is refused, with its date")
  func expiry() async throws {
    let world = try TLSWorld()
    _ = try world.files.write(world.authority.issue("server", validSeconds: -60...2), "server")
    try await withServer(tls: world.server.source(.server)) { server in
      let source = try world.client.source(.client)
      var message = ""
      while message.isEmpty {
        do {
          let connection = try await server.connect(tls: source)
          connection.close()
        } catch let status as RPCStatus {
          message = status.message
          #expect(status.isTLSFailure)
        }
      }
      #expect(message.contains("the server's certificate expired at 20"), "\(message)")
    }
  }

  @Test("versions below TLS 1.2 are refused, and 1.2 where 1.3 is asked for")
  func versions() async throws {
    let world = try TLSWorld()
    try await withServer(tls: world.server.source(.server)) { server in
      var old = TLSConfiguration.makeClientConfiguration()
      old.certificateVerification = .none
      old.maximumTLSVersion = .tlsv11
      await #expect(throws: (any Error).self) { try await handshake(old, port: server.port) }
      old.maximumTLSVersion = .tlsv12
      try await handshake(old, port: server.port)
    }
    var newest = world.server
    newest.minimumVersion = .tls13
    try await withServer(tls: newest.source(.server)) { server in
      var older = world.client
      older.maximumVersion = .tls12
      #expect(try await server.failure(older).contains("no version of TLS in common"))
      try await server.echo(world.client)
    }
  }

  @Test("cipher suites can be chosen by etcd's names")
  func cipherSuites() async throws {
    let world = try TLSWorld()
    var chosen = world.server
    chosen.maximumVersion = .tls12
    chosen.cipherSuites = ["TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384"]
    try await withServer(tls: chosen.source(.server)) { server in
      try await server.echo(world.client)
      var other = world.client
      other.cipherSuites = ["TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256"]
      #expect(try await server.failure(other).contains("no cipher suite in common"))
    }
    for wrong in [["AES"], ["TLS_AES_128_GCM_SHA256"]] {
      var settings = world.server
      settings.cipherSuites = wrong
      let error = #expect(throws: TLSError.self) { try settings.source(.server) }
      #expect(error?.code == .badSettings && error?.description.contains("no cipher suite is called") == true)
    }
  }

  @Test("a handshake that does not go on is ended", arguments: [[], [0x16], [0x16, 3, 1, 2, 0, 1, 0]] as [[UInt8]])
  func stalled(beginning: [UInt8]) async throws {
    let world = try TLSWorld()
    var limits = WireLimits.patient
    limits.handshakeTimeout = .milliseconds(50)
    try await withServer(limits: limits, tls: world.server.source(.server)) { server in
      // That it ends at all is the point; the last bytes of an ending may come as a reset.
      let answer = try? await plainExchange(ByteBuffer(bytes: beginning), port: server.port)
      #expect(answer == nil || answer == "")
    }
  }

  @Test("a server that never answers is given up")
  func silentServer() async throws {
    let world = try TLSWorld()
    var limits = WireLimits.client
    limits.handshakeTimeout = .milliseconds(50)
    // The kernel takes the connection, and nobody ever answers.
    let silent = try await silentListener()
    defer { silent.close(promise: nil) }
    let port = try #require(silent.localAddress?.port)
    let source = try world.client.source(.client)
    let error = await #expect(throws: RPCStatus.self) {
      try await WireConnection.connect(
        host: "127.0.0.1", port: port, on: testGroup.next(), limits: limits, tls: source
      ).get()
    }
    #expect(error?.isTLSFailure == true && error?.message.contains("was not over within 50 ms") == true)
  }

  @Test("plain text to a port that speaks TLS is answered in its own language")
  func plainTextToTLS() async throws {
    let world = try TLSWorld()
    try await withServer(tls: world.server.source(.server)) { server in
      let answer = try await plainExchange(
        ByteBuffer(string: "GET /health HTTP/1.1\r\nHost: h\r\n\r\n"), port: server.port)
      #expect(answer.hasPrefix("HTTP/1.1 400 Bad Request\r\n"))
      #expect(answer.hasSuffix("\r\n\r\nthis port speaks TLS: use https://\n"))
      let connection = try await server.connect()
      let error = await #expect(throws: RPCStatus.self) { try await connection.call(TestPath.echo, ByteBuffer()) }
      #expect(error?.isTLSFailure == true && error?.message.contains("this port speaks TLS: use https://") == true)
      #expect(try await plainExchange(ByteBuffer(bytes: [1, 2, 3, 4]), port: server.port) == "")
    }
  }

  @Test("TLS to a port that speaks plain text fails at once and says so")
  func tlsToPlainText() async throws {
    let world = try TLSWorld()
    try await withServer { server in
      let message = try await server.failure(world.client)
      #expect(message.contains("speaks something else than TLS"))
    }
  }
}
