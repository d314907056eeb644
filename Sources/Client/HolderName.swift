// By which name others know who holds something.

import Foundation
import Glibc

enum HolderName {
  /// Host and process: unique among those that live.
  static let ofThisProcess = "\(ProcessInfo.processInfo.hostName)/\(getpid())"
}
