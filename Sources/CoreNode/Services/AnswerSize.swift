// How large an answer will be, known before any of it is copied: a read may ask for everything that there is.

import CoordinationCore
import Wire

extension RPCStatus {
  /// Of a write it says nothing: that was carried out, only the answer is too large.
  static func answerTooLarge(_ bytes: Int, limit: Int) -> RPCStatus {
    RPCStatus(
      code: .resourceExhausted,
      message:
        "the answer would take \(bytes) bytes and may take \(limit): ask with a limit, for a part of the range, or"
        + " for keys only")
  }
}

extension RangeResult {
  /// No less than the keys and values take in a message.
  func answerBytes(keysOnly: Bool) -> Int { versions.reduce(0) { $0 + $1.answerBytes(keysOnly: keysOnly) } }
}

extension TransactionResult {
  var answerBytes: Int {
    results.reduce(0) { sum, item in
      switch item.result {
      case .range(let range, let keysOnly): sum + range.answerBytes(keysOnly: keysOnly)
      case .put(let previous): sum + (previous?.answerBytes(keysOnly: false) ?? 0)
      case .deleted(_, let previous): sum + previous.reduce(0) { $0 + $1.answerBytes(keysOnly: false) }
      case .transaction(let inner): sum + inner.answerBytes
      }
    }
  }
}

extension KeyVersion {
  /// Four numbers, two lengths and their tags are never more than the constant.
  fileprivate func answerBytes(keysOnly: Bool) -> Int { key.bytes.count + (keysOnly ? 0 : value.count) + 64 }
}
