// What clients do that mean harm, over HTTP/2. Each is closed with the error that says why, and others are served.

import Glibc
import NIOCore
import Testing
import Wire

@Suite("HTTP/2 abused", .timeLimit(.minutes(1)))
struct AbuseTests {
  private static var quick: WireLimits {
    var limits = WireLimits.patient
    limits.lookInterval = .milliseconds(20)
    return limits
  }

  // MARK: Too slow

  @Test("A preface that comes byte by byte does not hold a connection")
  func slowPreface() async throws {
    var limits = Self.quick
    // Longer than it takes anybody who means well to begin on a busy machine, and shorter than all of these bytes take.
    limits.firstBytesTimeout = .seconds(3)
    try await withNeighbour(limits: limits) { server in
      let slow = try await RawConnection.connect(port: server.port)
      for byte in RawFrame.preface.readableBytesView {
        guard (try? await slow.send(ByteBuffer(bytes: [byte]))) != nil else { break }
        try await Task.sleep(for: .milliseconds(250))
      }
      #expect(try await slow.rest().readableBytes == 0)
    }
  }

  @Test("A request that never ends is refused, and its connection goes on")
  func slowRequest() async throws {
    var limits = Self.quick
    limits.requestTimeout = .milliseconds(60)
    try await withNeighbour(limits: limits) { server in
      let slow = try await RawConnection.connectHTTP2(port: server.port)
      try await slow.send(RawFrame.request(TestPath.echo, stream: 1))
      try await slow.send(RawFrame(.data, stream: 1, [0, 0, 0, 1, 0, 7]))
      try await slow.wait { $0.contains { $0.kind == 3 && $0.stream == 1 && $0.errorCode == RawError.none } }
      // A whole one on the same connection is answered. It goes out at once: in two pieces it may be too slow as well, on a
      // machine that is busy.
      var whole = RawFrame.request(TestPath.echo, stream: 3).bytes
      whole.writeImmutableBuffer(RawFrame(.data, flags: RawFrame.endStream, stream: 3, [0, 0, 0, 0, 1, 9]).bytes)
      try await slow.send(whole)
      try await slow.wait { $0.contains { $0.kind == 0 && $0.stream == 3 && $0.payload == [0, 0, 0, 0, 1, 9] } }
      slow.close()
    }
  }

  @Test("A stream that may stay open for ever is not limited in time")
  func patientStream() async throws {
    var limits = Self.quick
    limits.requestTimeout = .milliseconds(400)
    limits.idleTimeout = .seconds(4)
    limits.stalledTimeout = .milliseconds(400)
    try await withServer(limits: limits) { server in
      let connection = try await server.connect()
      let received = Received()
      let stream = connection.openStream(TestPath.echoStream, handler: received)
      stream.send(ByteBuffer(string: "one"))
      #expect(try await received.events.next() == .message(ByteBuffer(string: "one")))
      // Another connection is closed for doing nothing, so at least that time has passed.
      let idle = try await RawConnection.connectHTTP2(port: server.port)
      #expect(try await idle.farewell() == RawError.none)
      stream.send(ByteBuffer(string: "two"))
      #expect(try await received.events.next() == .message(ByteBuffer(string: "two")))
      stream.halfClose()
      #expect(try await received.events.next() == .closed(.ok))
    }
  }

  @Test("Headers that never end hold a connection no longer than doing nothing does")
  func slowHeaders() async throws {
    var limits = Self.quick
    limits.idleTimeout = .seconds(4)
    try await withNeighbour(limits: limits, isNeverIdle: true) { server in
      let slow = try await RawConnection.connectHTTP2(port: server.port)
      try await slow.send(RawFrame.request(TestPath.echo, stream: 1, flags: 0))
      #expect(try await slow.farewell() == RawError.none)
    }
  }

  // MARK: Too much

  @Test("A flood of CONTINUATION frames is cut off")
  func continuations() async throws {
    try await withNeighbour(limits: Self.quick) { server in
      let flood = try await RawConnection.connectHTTP2(port: server.port)
      try await flood.send(RawFrame.request(TestPath.echo, stream: 1, flags: 0))
      await flood.sendUntilClosed(RawFrame(.continuation, stream: 1, RawFrame.block([("x", "y")])).bytes)
      #expect(try await flood.farewell() == RawError.enhanceYourCalm)
    }
  }

  @Test("Floods of pings, of settings, of resets and of empty data are cut off", arguments: [0, 1, 2, 3])
  func floods(of kind: Int) async throws {
    var limits = Self.quick
    limits.controlFramesPerHalfMinute = 200
    limits.resetsPerHalfMinute = 200
    try await withNeighbour(limits: limits) { server in
      let flood = try await RawConnection.connectHTTP2(port: server.port)
      if kind == 3 { try await flood.send(RawFrame.request(TestPath.echoStream, stream: 1)) }
      var stream: UInt32 = 1
      for _ in 0..<400 {
        var piece: ByteBuffer
        switch kind {
        case 0: piece = RawFrame(.ping, [1, 2, 3, 4, 5, 6, 7, 8]).bytes
        case 1: piece = RawFrame(.settings, [0, 4, 0, 1, 0, 0]).bytes
        case 2:
          // Rapid reset (CVE-2023-44487): asked and taken back before there can be an answer.
          piece = RawFrame.request(TestPath.silent, stream: stream).bytes
          piece.writeImmutableBuffer(RawFrame(.reset, stream: stream, [0, 0, 0, 8]).bytes)
          stream += 2
        default: piece = RawFrame(.data, stream: 1).bytes
        }
        guard (try? await flood.send(piece)) != nil else { break }
      }
      #expect(try await flood.farewell() == RawError.enhanceYourCalm)
    }
  }

  @Test("Header lists that are too large are refused, said in full or by reference to a table")
  func headerBombs() async throws {
    try await withNeighbour(limits: Self.quick) { server in
      let plain = try await RawConnection.connectHTTP2(port: server.port)
      let long = String(repeating: "x", count: 120)
      let block = RawFrame.block((0..<150).map { _ in ("padding", long) })
      try? await plain.send(RawFrame(.headers, flags: RawFrame.endHeaders, stream: 1, Array(block.prefix(16_384))))
      #expect(try await plain.farewell() != RawError.none)

      // One header of 3000 bytes put into the table, and then said 2000 times by one byte each.
      let table = try await RawConnection.connectHTTP2(port: server.port)
      var bomb: [UInt8] = [0x40, 1] + Array("b".utf8) + [0x7F, 0xB9, 0x16] + Array(repeating: 120, count: 3000)
      bomb += Array(repeating: 0xBE, count: 2000)
      try? await table.send(RawFrame(.headers, flags: RawFrame.endHeaders, stream: 1, bomb))
      #expect(try await table.farewell() != RawError.none)
    }
  }

  @Test("Frames that are too long, and windows that overflow, break the connection with the code for it")
  func brokenRules() async throws {
    try await withNeighbour(limits: Self.quick) { server in
      let long = try await RawConnection.connectHTTP2(port: server.port)
      try? await long.send(RawFrame(.data, stream: 1).bytes(announcing: 16_385))
      #expect(try await long.farewell() == RawError.frameSize)

      let window = try await RawConnection.connectHTTP2(port: server.port)
      try? await window.send(RawFrame(.windowUpdate, [0x7F, 0xFF, 0xFF, 0xFF]))
      #expect(try await window.farewell() == RawError.flowControl)
    }
  }

  @Test("More streams than there may be are refused, and bytes of unfinished requests have a bound")
  func unfinished() async throws {
    var limits = Self.quick
    limits.concurrentStreams = 50
    limits.unfinishedRequestBytes = 200_000
    try await withNeighbour(limits: limits) { server in
      let greedy = try await RawConnection.connectHTTP2(port: server.port)
      // Each announces a megabyte and sends 16,000 bytes of it: the thirteenth is one too many.
      let part: [UInt8] = [0, 0, 0x10, 0, 0] + Array(repeating: 1, count: 15_995)
      for number in 0..<20 {
        let stream = UInt32(2 * number + 1)
        try await greedy.send(RawFrame.request(TestPath.echo, stream: stream))
        try await greedy.send(RawFrame(.data, stream: stream, part))
      }
      try await greedy.wait { frames in Set(frames.filter { $0.kind == 3 }.map(\.stream)).count == 8 }
      greedy.close()

      let many = try await RawConnection.connectHTTP2(port: server.port)
      for number in 0..<60 {
        guard (try? await many.send(RawFrame.request(TestPath.echo, stream: UInt32(2 * number + 1)))) != nil else {
          break
        }
      }
      try await many.wait { $0.contains { $0.errorCode.map { $0 != RawError.none } ?? false } }
      many.close()
    }
  }

  @Test("A length that is announced costs nothing until the bytes are there")
  func announcedLengths() async throws {
    try await withNeighbour(limits: Self.quick) { server in
      let liar = try await RawConnection.connectHTTP2(port: server.port)
      let before = try Self.dataKiB()
      for number in 0..<2000 {
        let stream = UInt32(2 * number + 1)
        var piece = RawFrame.request(TestPath.echo, stream: stream).bytes
        piece.writeImmutableBuffer(RawFrame(.data, stream: stream, [0, 0, 0x1F, 0, 0, 1]).bytes)
        try await liar.send(piece)
      }
      // All of it was looked at once this is answered.
      try await liar.send(RawFrame(.ping, [8, 7, 6, 5, 4, 3, 2, 1]))
      try await liar.wait { $0.contains { $0.kind == 6 } }
      // 2000 times 2 MB would be 4 GB.
      let after = try Self.dataKiB()
      #expect(after - before < 1_000_000)
      liar.close()
    }
  }

  /// What this process has asked the system for, used or not.
  private static func dataKiB() throws -> Int {
    let file = try #require(fopen("/proc/self/status", "r"))
    defer { fclose(file) }
    var line = [CChar](repeating: 0, count: 256)
    while fgets(&line, Int32(line.count), file) != nil {
      let text = String(decoding: line.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
      if text.hasPrefix("VmData:") { return try #require(Int(text.filter(\.isNumber))) }
    }
    throw RPCStatus(.internalError, "/proc/self/status has no VmData")
  }
}
