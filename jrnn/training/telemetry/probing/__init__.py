"""The flow inside a training loop of one's own: what a gradient tells on its way, beside the gradient itself.

edges         dL/dh_t at the two ends of a sequence      wide_sums    sums that neither under- nor overflow, and add up
reporting     how figures leave any transformation       arrivals     what arrives at named lags
watching_runs the runs of `unroll`                       scans        recurrences that were scanned by hand
values        `probe`, and what is made of the sums
"""
