// A client that sends and receives single HTTP/2 frames, to do what the real one never would.

import NIOCore
import NIOHPACK
import NIOHTTP2
import NIOPosix

struct RawHTTP2Client: Sendable {
  private let channel: any Channel
  private let frames = Signal<HTTP2Frame>()
  /// Frames of the connection itself.
  private let others = Signal<HTTP2Frame>()

  private init(channel: any Channel) {
    self.channel = channel
  }

  static func connect(port: Int) async throws -> RawHTTP2Client {
    let channel = try await ClientBootstrap(group: testGroup)
      .channelInitializer { channel in
        channel.eventLoop.makeCompletedFuture {
          try channel.pipeline.syncOperations.addHandler(NIOHTTP2Handler(mode: .client))
        }
      }
      .connect(host: "127.0.0.1", port: port).get()
    let client = RawHTTP2Client(channel: channel)
    try await channel.eventLoop.submit {
      try channel.pipeline.syncOperations.addHandler(Collector(client))
    }.get()
    return client
  }

  /// Forwards frames of streams, and those of the connection apart from them.
  private final class Collector: ChannelInboundHandler {
    typealias InboundIn = HTTP2Frame
    private let client: RawHTTP2Client

    init(_ client: RawHTTP2Client) {
      self.client = client
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
      let frame = self.unwrapInboundIn(data)
      (frame.streamID == .rootStream ? self.client.others : self.client.frames).send(frame)
    }
  }

  static func requestHeaders(_ path: String, adding: [(String, String)] = []) -> HPACKHeaders {
    var headers: HPACKHeaders = [
      ":method": "POST", ":scheme": "http", ":path": path, ":authority": "test",
      "content-type": "application/grpc", "te": "trailers",
    ]
    for (name, value) in adding { headers.add(name: name, value: value) }
    return headers
  }

  func send(_ payload: HTTP2Frame.FramePayload, on streamID: HTTP2StreamID) async throws {
    try await self.channel.writeAndFlush(HTTP2Frame(streamID: streamID, payload: payload)).get()
  }

  func open(_ path: String, on streamID: HTTP2StreamID, encoding: String? = nil) async throws {
    var headers = Self.requestHeaders(path)
    if let encoding { headers.add(name: "grpc-encoding", value: encoding) }
    try await self.send(.headers(.init(headers: headers)), on: streamID)
  }

  func sendData(_ bytes: ByteBuffer, on streamID: HTTP2StreamID, isEnd: Bool = false) async throws {
    try await self.send(.data(.init(data: .byteBuffer(bytes), endStream: isEnd)), on: streamID)
  }

  func nextFrame() async throws -> HTTP2Frame {
    try await self.frames.next()
  }

  /// Reads frames of one stream until it ends: its data, and its last header block.
  func answer(on streamID: HTTP2StreamID) async throws -> (data: ByteBuffer, trailers: HPACKHeaders) {
    var bytes = ByteBuffer()
    while true {
      let frame = try await self.nextFrame()
      guard frame.streamID == streamID else { continue }
      switch frame.payload {
      case .data(let payload):
        if case .byteBuffer(var piece) = payload.data { bytes.writeBuffer(&piece) }
      case .headers(let payload) where payload.endStream:
        return (bytes, payload.headers)
      default:
        break
      }
    }
  }

  /// Reads frames of the connection until it is given up: why.
  func nextGoAway() async throws -> (code: HTTP2ErrorCode, text: String) {
    while true {
      if case .goAway(_, let code, let data) = try await self.others.next().payload {
        return (code, data.map { String(buffer: $0) } ?? "")
      }
    }
  }

  /// Reads frames of the connection until the server pings. The answer has been sent by then.
  func nextPing() async throws {
    while true {
      if case .ping(_, ack: false) = try await self.others.next().payload { return }
    }
  }

  var closeFuture: EventLoopFuture<Void> { self.channel.closeFuture }

  func close() {
    self.channel.close(promise: nil)
  }

  /// A message with gRPC's prefix.
  static func framed(_ text: String) -> ByteBuffer { framed(Array(text.utf8), isCompressed: false) }

  static func framed(_ bytes: [UInt8], isCompressed: Bool) -> ByteBuffer {
    var buffer = ByteBuffer()
    buffer.writeInteger(UInt8(isCompressed ? 1 : 0))
    buffer.writeInteger(UInt32(bytes.count))
    buffer.writeBytes(bytes)
    return buffer
  }
}
