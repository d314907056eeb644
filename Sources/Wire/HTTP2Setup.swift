// How both ends set up the HTTP/2 library, and the two small rules they share.

import NIOCore
import NIOHTTP2

enum HTTP2Windows {
  /// RFC 9113, section 6.9.2: every connection starts with this much, whatever the settings say.
  static let initialConnectionBytes = 65_535

  /// What to give back to the peer once half of the window is used; nil before that, so that updates stay rare.
  static func increment(from windowBytes: Int, target: Int) -> Int? {
    windowBytes <= target / 2 ? min(target - windowBytes, Int(Int32.max)) : nil
  }
}

/// Notices that the HTTP/2 library has given the connection up, which it says by writing a GOAWAY with an error. The
/// errors that it reports to handlers do not tell a broken stream from a broken connection.
final class ConnectionErrorDetector: NIOHTTP2FrameDelegate {
  private(set) var isConnectionBroken = false

  func wroteFrame(_ frame: HTTP2Frame) {
    if case .goAway(_, let code, _) = frame.payload, code != .noError {
      self.isConnectionBroken = true
    }
  }
}

extension NIOHTTP2Handler {
  /// Header blocks and content lengths are not validated by the library: `RequestHead` and the client's reading of
  /// answers check what they use, and the checks cost more than a tenth of a small call.
  static func make(mode: ParserMode, limits: WireLimits, errors: ConnectionErrorDetector) -> NIOHTTP2Handler {
    var connection = ConnectionConfiguration()
    connection.initialSettings = [
      HTTP2Setting(parameter: .maxConcurrentStreams, value: limits.concurrentStreams),
      HTTP2Setting(parameter: .initialWindowSize, value: limits.streamWindowBytes),
      HTTP2Setting(parameter: .maxHeaderListSize, value: limits.headerListBytes),
    ]
    if mode == .client {
      connection.initialSettings.append(HTTP2Setting(parameter: .enablePush, value: 0))
    }
    connection.headerBlockValidation = .disabled
    connection.contentLengthValidation = .disabled
    connection.maximumSequentialEmptyDataFrames = 100
    connection.controlFrameRateLimit.maximumCount = limits.controlFramesPerHalfMinute
    connection.maximumConnectionGlitches = 10_000
    var stream = StreamConfiguration()
    stream.streamResetFrameRateLimit.maximumCount = limits.resetsPerHalfMinute
    stream.streamErrorRateLimit.maximumCount = 10_000
    return NIOHTTP2Handler(
      mode: mode, frameDelegate: errors, connectionConfiguration: connection, streamConfiguration: stream)
  }
}
