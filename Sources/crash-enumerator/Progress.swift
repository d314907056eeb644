// Owns the reading of a recorded program's marks: what it had been promised at each moment.

import CrashStates

/// What a program had handed over and what had been acknowledged to it.
struct Progress {
  /// The log or the database was made.
  var isMade = false
  var done = 0
  var begun = 0

  /// For each number of marks.
  static func all(in calls: [Call]) throws(Failure) -> [Progress] {
    var all = [Progress()]
    for case .mark(let bytes) in calls {
      var now = all[all.count - 1]
      let text = String(decoding: bytes, as: UTF8.self)
      switch (text.first, Int(text.dropFirst())) {
      case ("o", _): now.isMade = true
      case ("b", let count?): now.begun = count
      case ("d", let count?): now.done = count
      default: throw Failure("the mark \"\(text)\" is none of this program's")
      }
      all.append(now)
    }
    return all
  }
}
