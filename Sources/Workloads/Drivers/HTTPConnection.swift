// Owns one HTTP/1.1 connection to a gateway that stays open and carries one request after another.
//
// It must never hand an answer to the wrong request: they come in the order of the requests (RFC 9112, section 9.3), and
// what is sent while an answer is waited for is pipelined behind it.

import NIOCore
import NIOHTTP1
import NIOPosix
import Wire

struct HTTPAnswer {
  let status: Int
  let body: ByteBuffer
}

/// `@unchecked Sendable`: everything mutable is touched on `eventLoop` only; each entry asserts that, and the handlers of a
/// channel run on its loop.
final class HTTPConnection: LoadConnection, @unchecked Sendable {
  typealias Completion = (Result<HTTPAnswer, RPCStatus>) -> Void

  let eventLoop: any EventLoop
  private let channel: any Channel
  private let host: String
  private var waiting = CircularBuffer<Completion>()
  private var isFlushScheduled = false

  var closeFuture: EventLoopFuture<Void> { channel.closeFuture }

  private init(channel: any Channel, host: String) {
    self.channel = channel
    self.host = host
    eventLoop = channel.eventLoop
  }

  static func open(
    to endpoint: Endpoint, on eventLoop: any EventLoop, tls: TLSSource?
  ) -> EventLoopFuture<HTTPConnection> {
    guard !endpoint.usesTLS else {
      return eventLoop.makeFailedFuture(
        RPCStatus(.invalidArgument, "\(endpoint): a load of writes speaks plain HTTP; give the gateway's plain address")
      )
    }
    return ClientBootstrap(group: eventLoop)
      .channelOption(.tcpOption(.tcp_nodelay), value: 1)
      .connect(host: endpoint.host, port: endpoint.port)
      .flatMapThrowing { channel in
        let connection = HTTPConnection(channel: channel, host: "\(endpoint)")
        let pipeline = channel.pipeline.syncOperations
        try pipeline.addHTTPClientHandlers()
        try pipeline.addHandler(AnswerReader(connection))
        channel.closeFuture.whenComplete { _ in connection.lost() }
        return connection
      }
      .flatMapErrorThrowing { error in
        throw RPCStatus(.unavailable, "cannot connect to \(endpoint): \(WireConnection.cause(of: error))")
      }
  }

  func close() { channel.close(promise: nil) }

  func post(_ path: String, _ fields: [(String, String)], _ body: ByteBuffer, completion: @escaping Completion) {
    var headers = HTTPHeaders([("Host", host), ("Content-Type", "application/json")])
    for (name, value) in fields { headers.add(name: name, value: value) }
    headers.add(name: "Content-Length", value: "\(body.readableBytes)")
    send(HTTPRequestHead(version: .http1_1, method: .POST, uri: path, headers: headers), body, completion)
  }

  func get(_ path: String, completion: @escaping Completion) {
    let headers = HTTPHeaders([("Host", host)])
    send(HTTPRequestHead(version: .http1_1, method: .GET, uri: path, headers: headers), nil, completion)
  }

  private func send(_ head: HTTPRequestHead, _ body: ByteBuffer?, _ completion: @escaping Completion) {
    eventLoop.assertInEventLoop()
    guard channel.isActive else { return completion(.failure(RPCStatus(.unavailable, "the connection is closed"))) }
    waiting.append(completion)
    channel.write(HTTPClientRequestPart.head(head), promise: nil)
    if let body { channel.write(HTTPClientRequestPart.body(.byteBuffer(body)), promise: nil) }
    channel.write(HTTPClientRequestPart.end(nil), promise: nil)
    flushSoon()
  }

  /// Once for all that is sent in one turn of the loop.
  private func flushSoon() {
    guard !isFlushScheduled else { return }
    isFlushScheduled = true
    eventLoop.execute {
      self.isFlushScheduled = false
      self.channel.flush()
    }
  }

  private func answered(_ answer: HTTPAnswer) { waiting.popFirst()?(.success(answer)) }

  private func lost() {
    eventLoop.assertInEventLoop()
    while let completion = waiting.popFirst() {
      completion(.failure(RPCStatus(.unavailable, "the connection was lost before the answer")))
    }
  }

  private final class AnswerReader: ChannelInboundHandler {
    typealias InboundIn = HTTPClientResponsePart

    private let connection: HTTPConnection
    private var status = 0
    private var body = ByteBuffer()

    init(_ connection: HTTPConnection) { self.connection = connection }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
      switch unwrapInboundIn(data) {
      case .head(let head):
        status = Int(head.status.code)
        body.clear()
      case .body(var bytes): body.writeBuffer(&bytes)
      case .end: connection.answered(HTTPAnswer(status: status, body: body))
      }
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) { context.close(promise: nil) }
  }
}
