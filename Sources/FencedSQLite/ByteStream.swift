// The way of an answer's bytes from a thread that runs SQL to the connection that they go out on, as fast as they are
// taken there.
//
// Must never hold more than a few chunks, whatever the answer's size, and never wait for ever for somebody who stopped
// reading: then the stream is cut, and what holds the other end is told.

package final class ByteStream: Sendable {
  private struct State: Sendable {
    var chunks: [[UInt8]] = []
    var isFinished = false
    var isCut = false
    var waiting: CheckedContinuation<Void, Never>?
  }

  private let monitor = Monitor(State())
  private let chunkLimit: Int
  private let stallNanoseconds: UInt64
  /// Called on the producing thread when the other end took nothing for too long.
  private let onStall: @Sendable () -> Void

  package init(chunkLimit: Int = 4, stallSeconds: Double, onStall: @escaping @Sendable () -> Void) {
    self.chunkLimit = chunkLimit
    self.stallNanoseconds = UInt64(stallSeconds * 1e9)
    self.onStall = onStall
  }

  /// Hands over a chunk and blocks while too many lie there. Answers whether more is wanted.
  package func send(_ chunk: [UInt8]) -> Bool {
    let isTaken = monitor.wait(atMostNanoseconds: stallNanoseconds) { [chunkLimit] state -> Bool? in
      if state.isCut { return false }
      guard state.chunks.count < chunkLimit else { return nil }
      state.chunks.append(chunk)
      return true
    }
    if isTaken == nil {
      cut()
      onStall()
    }
    wake()
    return isTaken ?? false
  }

  /// Ends the stream after what was sent, and after `rest`. Never blocks.
  package func finish(_ rest: [UInt8] = []) {
    monitor.withLock { state in
      if !rest.isEmpty { state.chunks.append(rest) }
      state.isFinished = true
    }
    wake()
  }

  /// Nothing more is wanted, or can be had.
  package func cut() {
    monitor.withLock { state in
      state.isCut = true
      state.chunks = []
    }
    wake()
  }

  private func wake() {
    let waiting = monitor.withLock { state in
      defer { state.waiting = nil }
      return state.waiting
    }
    waiting?.resume()
  }

  package enum Next {
    case chunk([UInt8], isLast: Bool)
    case end
    case cut
  }

  /// The next chunk, once there is one. One task at a time may ask.
  package func next() async -> Next {
    while true {
      let next = monitor.withLock { state -> Next? in
        if state.isCut { return .cut }
        if !state.chunks.isEmpty {
          let chunk = state.chunks.removeFirst()
          return .chunk(chunk, isLast: state.chunks.isEmpty && state.isFinished)
        }
        return state.isFinished ? .end : nil
      }
      if let next { return next }
      await withCheckedContinuation { continuation in
        let isReady = monitor.withLock { state in
          if state.isCut || state.isFinished || !state.chunks.isEmpty { return true }
          precondition(state.waiting == nil, "a stream has one reader")
          state.waiting = continuation
          return false
        }
        if isReady { continuation.resume() }
      }
    }
  }
}
