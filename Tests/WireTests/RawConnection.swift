// A connection that sends any bytes at all, and HTTP/2's frames written by hand: what no library would send.

import NIOConcurrencyHelpers
import NIOCore
import NIOPosix
import Testing
import Wire

/// A frame as it lies on the wire (RFC 9113, section 4.1).
struct RawFrame: Sendable, Equatable {
  static let preface = ByteBuffer(string: "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")

  enum Kind: UInt8 {
    case data = 0
    case headers = 1
    case reset = 3
    case settings = 4
    case ping = 6
    case goAway = 7
    case windowUpdate = 8
    case continuation = 9
  }

  static let endStream: UInt8 = 1
  static let endHeaders: UInt8 = 4

  var kind: UInt8
  var flags: UInt8 = 0
  var stream: UInt32 = 0
  var payload: [UInt8] = []

  init(_ kind: Kind, flags: UInt8 = 0, stream: UInt32 = 0, _ payload: [UInt8] = []) {
    self.kind = kind.rawValue
    self.flags = flags
    self.stream = stream
    self.payload = payload
  }

  /// Whatever is whole in these bytes.
  static func read(_ bytes: ByteBuffer) -> [RawFrame] {
    var (bytes, frames) = (bytes, [RawFrame]())
    while let head = bytes.getBytes(at: bytes.readerIndex, length: 9) {
      let length = Int(head[0]) << 16 | Int(head[1]) << 8 | Int(head[2])
      guard bytes.readableBytes >= 9 + length else { break }
      bytes.moveReaderIndex(forwardBy: 9)
      var frame = RawFrame(.data, flags: head[4], stream: head[5...8].reduce(0) { $0 << 8 | UInt32($1) })
      frame.kind = head[3]
      frame.payload = bytes.readBytes(length: length) ?? []
      frames.append(frame)
    }
    return frames
  }

  var bytes: ByteBuffer { self.bytes(announcing: self.payload.count) }

  func bytes(announcing length: Int) -> ByteBuffer {
    var buffer = ByteBuffer()
    buffer.writeBytes([UInt8(length >> 16), UInt8(length >> 8 & 0xFF), UInt8(length & 0xFF), self.kind, self.flags])
    buffer.writeInteger(self.stream)
    buffer.writeBytes(self.payload)
    return buffer
  }

  /// A header block of literals that are not indexed (RFC 7541, section 6.2.2), for strings of up to 126 bytes.
  static func block(_ headers: [(String, String)]) -> [UInt8] {
    var block: [UInt8] = []
    for (name, value) in headers {
      block += [0, UInt8(name.utf8.count)]
      block += name.utf8
      block.append(UInt8(value.utf8.count))
      block += value.utf8
    }
    return block
  }

  static func request(_ path: String, stream: UInt32, flags: UInt8 = RawFrame.endHeaders) -> RawFrame {
    RawFrame(
      .headers, flags: flags, stream: stream,
      Self.block([
        (":method", "POST"), (":scheme", "http"), (":path", path), (":authority", "test"),
        ("content-type", "application/grpc"), ("te", "trailers"),
      ]))
  }

  /// The code of a reset or of a GOAWAY.
  var errorCode: UInt32? {
    switch self.kind {
    case Kind.reset.rawValue where self.payload.count == 4: self.payload.reduce(0) { $0 << 8 | UInt32($1) }
    case Kind.goAway.rawValue where self.payload.count >= 8: self.payload[4..<8].reduce(0) { $0 << 8 | UInt32($1) }
    default: nil
    }
  }
}

/// What codes mean (RFC 9113, section 7).
enum RawError {
  static let none: UInt32 = 0
  static let protocolError: UInt32 = 1
  static let flowControl: UInt32 = 3
  static let frameSize: UInt32 = 6
  static let refusedStream: UInt32 = 7
  static let compression: UInt32 = 9
  static let enhanceYourCalm: UInt32 = 11
}

final class RawConnection: Sendable {
  private let channel: any Channel
  private let received: Collector.Received

  private init(_ channel: any Channel, _ received: Collector.Received) {
    self.channel = channel
    self.received = received
  }

  static func connect(port: Int) async throws -> RawConnection {
    let received = Collector.Received()
    let channel = try await ClientBootstrap(group: testGroup)
      .channelOption(.tcpOption(.tcp_nodelay), value: 1)
      .channelInitializer { channel in
        channel.eventLoop.makeCompletedFuture {
          try channel.pipeline.syncOperations.addHandler(Collector(received))
        }
      }
      .connect(host: "127.0.0.1", port: port).get()
    return RawConnection(channel, received)
  }

  /// A connection that has said that it speaks HTTP/2.
  static func connectHTTP2(port: Int, settings: [UInt8] = []) async throws -> RawConnection {
    let connection = try await connect(port: port)
    try await connection.send(RawFrame.preface)
    try await connection.send(RawFrame(.settings, settings))
    // Until the server's settings are acknowledged, others than it names are in force.
    try await connection.wait { $0.contains { $0.kind == RawFrame.Kind.settings.rawValue } }
    try await connection.send(RawFrame(.settings, flags: 1))
    return connection
  }

  /// From here on nothing is taken off the socket.
  func stopReading() async throws { try await self.channel.setOption(.autoRead, value: false).get() }

  func send(_ bytes: ByteBuffer) async throws { try await self.channel.writeAndFlush(bytes).get() }
  func send(_ frame: RawFrame) async throws { try await self.send(frame.bytes) }
  func send(_ text: String) async throws { try await self.send(ByteBuffer(string: text)) }

  /// Sends for as long as the server listens.
  func sendUntilClosed(_ piece: ByteBuffer, every pause: Duration = .zero) async {
    while (try? await self.send(piece)) != nil {
      if pause > .zero { try? await Task.sleep(for: pause) }
    }
  }

  /// Everything that came until the server closed the connection.
  func rest() async throws -> ByteBuffer {
    try? await self.channel.closeFuture.get()
    return self.received.bytes.withLockedValue { $0 }
  }

  func frames() async throws -> [RawFrame] { RawFrame.read(try await self.rest()) }

  /// The code with which the server says farewell.
  func farewell() async throws -> UInt32? {
    try await self.frames().last { $0.kind == RawFrame.Kind.goAway.rawValue }?.errorCode
  }

  /// Waits until what came so far is as wanted.
  func wait(_ isWanted: @Sendable ([RawFrame]) -> Bool) async throws {
    while !isWanted(self.received.bytes.withLockedValue { RawFrame.read($0) }) {
      try #require(self.channel.isActive, "closed before it came")
      _ = try await self.received.news.next()
    }
  }

  func close() { self.channel.close(promise: nil) }

  private final class Collector: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer

    struct Received: Sendable {
      let bytes = NIOLockedValueBox(ByteBuffer())
      let news = Signal<Void>()
    }

    private let received: Received

    init(_ received: Received) { self.received = received }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
      let piece = self.unwrapInboundIn(data)
      self.received.bytes.withLockedValue { _ = $0.writeImmutableBuffer(piece) }
      self.received.news.send(())
    }

    func channelInactive(context: ChannelHandlerContext) { self.received.news.send(()) }
    func errorCaught(context: ChannelHandlerContext, error: any Error) { context.close(promise: nil) }
  }
}

/// Runs an abuse, sees to it that another client is served all the while, and that it is afterwards.
func withNeighbour(
  limits: WireLimits, isNeverIdle: Bool = false, _ abuse: @escaping @Sendable (TestServer) async throws -> Void
) async throws {
  try await withServer(limits: limits) { server in
    let neighbour = try await server.connect()
    let message = ByteBuffer(string: "still there")
    // On a busy machine there may be a second between two of its calls, and it is not to count as idle then.
    let held = !isNeverIdle ? nil : neighbour.openStream(TestPath.echoStream, handler: Received())
    try await withThrowingTaskGroup(of: Void.self) { group in
      let isOver = NIOLockedValueBox(false)
      group.addTask {
        defer { isOver.withLockedValue { $0 = true } }
        try await abuse(server)
      }
      group.addTask {
        repeat {
          let answer = try await neighbour.call(TestPath.echo, message)
          #expect(answer == message)
          await Task.yield()
        } while !isOver.withLockedValue { $0 }
      }
      try await group.waitForAll()
    }
    #expect(try await neighbour.call(TestPath.echo, message) == message)
    let newcomer = try await server.connect()
    #expect(try await newcomer.call(TestPath.echo, message) == message)
    newcomer.close()
    held?.cancel()
    neighbour.close()
  }
}
